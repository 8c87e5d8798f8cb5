/** From what a user writes for a store to the store. */
import { SgwError } from '../kit/index.ts';
import type { ObjectStore } from './contract.ts';

export interface OpenObjectStoreOptions {
  /** Begin a store where there is none. Default false: then it must exist. */
  readonly create?: boolean;
}

const URL_SCHEME = /^([a-z][a-z0-9+.-]+):\/\//i;

/**
 * Opens the store that `description` names: the path of a directory. With `create` an empty or missing directory becomes
 * a store at its first write.
 * @throws unsupported `store-kind` for any URL. - notFound `store-missing` without `create`. - invalid `bad-store`.
 */
export async function openObjectStore(description: string, options: OpenObjectStoreOptions = {}): Promise<ObjectStore> {
  const scheme = URL_SCHEME.exec(description)?.[1];
  if (scheme !== undefined) {
    throw new SgwError('unsupported', 'store-kind', `stores of the kind ${scheme}:// can not be used by this version`, {
      hint: 'Name a directory.',
      details: { store: description.replace(/\/\/[^/@]*@/, '//') },
    });
  }
  if (description === '' || description.includes('\0')) {
    throw new SgwError('invalid', 'bad-store', `"${description}" does not name an object store`, {
      hint: 'Name a directory.',
    });
  }
  const { directoryStore } = await import('./directory.ts');
  const store = directoryStore({ path: description, create: options.create ?? false });
  // Any read tells whether the store is there and of a layout that this version knows.
  await store.head('sgw.json');
  return store;
}
