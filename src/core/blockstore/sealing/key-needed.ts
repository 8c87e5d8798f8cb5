import { SgwError } from '../../kit/index.ts';

/** Something sealed is to be read by one who has not unlocked the store's key. */
export function keyNeeded(key: string): SgwError {
  return new SgwError('denied', 'key-needed', `object ${key} is sealed, and the key of the store is not unlocked`, {
    hint: 'Give the key file or the passphrase of the store.',
    details: { key },
  });
}
