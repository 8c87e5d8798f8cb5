/** Making, opening and changing the key of a store. An entrance of its own, since few commands need it: see docs/ARCHITECTURE.md, "Loading". */
export { newKeyFileText, parseKeyFile, parseRecoveryCode, passphraseSecret, type SlotSecret } from './secret-text.ts';
export { beginStoreKey, rekeyStore, unlockStore } from './store-keys.ts';
