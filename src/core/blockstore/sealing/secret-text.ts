/**
 * What unlocks a store's key, as people keep it: a passphrase, the text of a key file, a recovery code
 * (docs/formats/keys.md).
 */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { SgwError, type Random } from '../../kit/index.ts';
import { KEY_BYTES } from './aead.ts';

/** Something that opens a slot of its kind. Prints without its bytes, but for a passphrase: keep that out of sight. */
export type SlotSecret =
  | { readonly kind: 'passphrase'; readonly passphrase: string }
  | { readonly kind: 'keyFile' | 'recovery'; readonly key: KeyObject };

const FILE_TEXT = /^sgw-key-1:([A-Za-z0-9_-]{43})\r?\n?$/;

/** The text of a new key file. */
export const newKeyFileText = (random: Random): string =>
  `sgw-key-1:${random.bytes(KEY_BYTES).toString('base64url')}\n`;

/** @throws invalid `bad-key-file`; the message never has the contents */
export function parseKeyFile(text: string): SlotSecret {
  const digits = FILE_TEXT.exec(text)?.[1];
  const bytes = Buffer.from(digits ?? '', 'base64url');
  if (bytes.length !== KEY_BYTES || bytes.toString('base64url') !== digits) {
    throw new SgwError('invalid', 'bad-key-file', 'the key file is not one of sgw', {
      hint: 'Name the file that `sgw activate --encrypt` made, whole and unchanged.',
    });
  }
  return { kind: 'keyFile', key: createSecretKey(bytes) };
}

/** @throws invalid `bad-passphrase` when it is empty */
export function passphraseSecret(passphrase: string): SlotSecret {
  const normal = passphrase.normalize('NFC');
  if (normal !== '') return { kind: 'passphrase', passphrase: normal };
  throw new SgwError('invalid', 'bad-passphrase', 'the passphrase is empty', {
    hint: 'Give one that is hard to guess.',
  });
}

/** Without letters that look like digits or like each other. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const CHECK_BYTES = 3;
/** 35 bytes are 56 digits of 5 bits. */
const CODE_DIGITS = 56;
const GROUP_DIGITS = 4;

const checkOf = (bytes: Uint8Array): Buffer =>
  createHash('sha256').update('sgw recovery code').update(bytes).digest().subarray(0, CHECK_BYTES);

/** A recovery code of 14 groups of four for 32 bytes. */
export function recoveryCodeOf(bytes: Uint8Array): string {
  const bits = [...bytes, ...checkOf(bytes)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const digits = bits.replace(/.{5}/g, (five) => ALPHABET.charAt(Number.parseInt(five, 2)));
  return (digits.match(/.{4}/g) ?? []).join('-');
}

/** @throws invalid `bad-recovery-code` when digits are missing, unknown or mistyped */
export function parseRecoveryCode(code: string): SlotSecret {
  const digits = code.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
  const values = [...digits].map((digit) => ALPHABET.indexOf(digit));
  if (digits.length === CODE_DIGITS && !values.includes(-1)) {
    const bits = values.map((value) => value.toString(2).padStart(5, '0')).join('');
    const bytes = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
    const key = bytes.subarray(0, KEY_BYTES);
    if (checkOf(key).equals(bytes.subarray(KEY_BYTES))) return { kind: 'recovery', key: createSecretKey(key) };
  }
  throw new SgwError('invalid', 'bad-recovery-code', 'the recovery code has missing, unknown or mistyped digits', {
    hint: `A code is ${String(CODE_DIGITS / GROUP_DIGITS)} groups of ${String(GROUP_DIGITS)} digits or letters.`,
  });
}
