/** Keys that the provider holds: a part of its own, loaded where a service opens its store. */
export { openProviderStore, type ProviderStore } from './provider-store.ts';
