/** Making, opening and changing the key of a store. An entrance of its own, since few commands need it: see docs/ARCHITECTURE.md, "Loading". */
export { decrypt, deriveKey, encrypt, KEY_BYTES, NONCES, openUnit, SALT_BYTES, sealUnit, TAG_BYTES } from './aead.ts';
export { newKeyFileText, parseKeyFile, parseRecoveryCode, passphraseSecret, type SlotSecret } from './secret-text.ts';
export { beginStoreKey, rekeyStore, unlockStore } from './store-keys.ts';
