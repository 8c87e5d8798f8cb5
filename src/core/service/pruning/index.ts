/** What the service forgets in time. A part that only a service on the network loads. */
export { prune } from './prune.ts';
