/**
 * `keys/<keyId>.json`: the account's key, wrapped once for each secret that opens it (docs/formats/keys.md). Changing what
 * opens a store changes this document and nothing else.
 */
import { createSecretKey, scrypt, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { Random } from '../../kit/index.ts';
import { damaged } from '../damage.ts';
import { KEY_BYTES, SALT_BYTES, openUnit, sealUnit } from './aead.ts';
import type { SlotSecret } from './secret-text.ts';

/** What deriving a key from a passphrase costs. */
export interface ScryptCost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

type SlotKdf = ({ readonly name: 'scrypt'; readonly salt: string } & ScryptCost) | { readonly name: 'none' };

/** One way to open the account's key. */
export interface KeySlot {
  readonly slotId: string;
  readonly kind: SlotSecret['kind'];
  readonly createdAt: string;
  readonly kdf: SlotKdf;
  /** Salt, ciphertext and tag, base64. */
  readonly wrapped: string;
}

export interface KeyDocument {
  readonly keyId: string;
  readonly createdAt: string;
  readonly slots: readonly KeySlot[];
}

/** Whose key, of which store. */
interface KeyName {
  readonly storeId: string;
  readonly keyId: string;
}

/** 128 MiB and some tenths of a second for each guess. */
const DEFAULT_COST: ScryptCost = { N: 2 ** 17, r: 8, p: 1 };
const COST_MAX: ScryptCost = { N: 2 ** 20, r: 32, p: 16 };
const MEMORY_MAX_BYTES = 1 << 30;
/** Far above what rekeying leaves; each one costs a passphrase to be stretched. */
const SLOTS_MAX = 16;
const INFO = 'sgw account key';

const associatedOf = ({ storeId, keyId }: KeyName, slotId: string, kind: string): string =>
  [storeId, keyId, slotId, kind].join(' ');

const scryptAsync = promisify<string, Buffer, number, ScryptCost & { maxmem: number }, Buffer>(scrypt);

async function slotKey(secret: SlotSecret, kdf: SlotKdf): Promise<KeyObject> {
  if (secret.kind !== 'passphrase') return secret.key;
  if (kdf.name !== 'scrypt') throw new TypeError('a passphrase is stretched');
  const { N, r, p, salt } = kdf;
  const maxmem = 256 * r * (N + p) + (1 << 20);
  return createSecretKey(
    await scryptAsync(secret.passphrase, Buffer.from(salt, 'base64'), KEY_BYTES, { N, r, p, maxmem }),
  );
}

/** Wraps an account's key for one secret. `wrap` gets the function that seals its bytes. */
export async function newSlot(
  name: KeyName,
  secret: SlotSecret,
  how: { readonly random: Random; readonly createdAt: string; readonly cost?: ScryptCost },
  wrap: (seal: (accountKey: Uint8Array) => Buffer) => Buffer,
): Promise<KeySlot> {
  const { random, createdAt } = how;
  const slotId = `slot-${random.bytes(4).toString('hex')}`;
  const { kind } = secret;
  const kdf: SlotKdf =
    kind === 'passphrase'
      ? { name: 'scrypt', ...(how.cost ?? DEFAULT_COST), salt: random.bytes(SALT_BYTES).toString('base64') }
      : { name: 'none' };
  const key = await slotKey(secret, kdf);
  const wrapped = wrap((accountKey) => sealUnit(key, random, INFO, associatedOf(name, slotId, kind), accountKey));
  return { slotId, kind, createdAt, kdf, wrapped: wrapped.toString('base64') };
}

/** The account key's bytes; undefined when no slot opens with this secret. @throws corrupt for impossible slots */
export async function openSlots(
  key: string,
  name: KeyName,
  slots: readonly KeySlot[],
  secret: SlotSecret,
): Promise<Buffer | undefined> {
  if (slots.length > SLOTS_MAX || !slots.every(isSlot)) throw damaged(key, 'its slots are impossible');
  for (const slot of slots) {
    if (slot.kind !== secret.kind) continue;
    checkCost(key, slot.kdf, secret.kind);
    const associated = associatedOf(name, slot.slotId, slot.kind);
    const opened = openUnit(await slotKey(secret, slot.kdf), INFO, associated, Buffer.from(slot.wrapped, 'base64'));
    if (opened?.length === KEY_BYTES) return opened;
  }
  return undefined;
}

/** The document is not sealed, so its fields can be anything. */
function isSlot(slot: unknown): slot is KeySlot {
  const { slotId, kind, kdf, wrapped } = (slot ?? {}) as Partial<Record<keyof KeySlot, unknown>>;
  return [slotId, kind, wrapped].every((field) => typeof field === 'string') && typeof kdf === 'object' && kdf !== null;
}

/** What is read is not trusted to ask for any amount of memory and time. */
function checkCost(key: string, kdf: SlotKdf, kind: SlotSecret['kind']): void {
  if (kind !== 'passphrase') return;
  if (kdf.name !== 'scrypt') throw damaged(key, 'a passphrase is not stretched by scrypt');
  const { N, r, p, salt } = kdf;
  const fits =
    (
      [
        [N, COST_MAX.N],
        [r, COST_MAX.r],
        [p, COST_MAX.p],
      ] as const
    ).every(([value, max]) => Number.isSafeInteger(value) && value >= 1 && value <= max) &&
    N >= 2 &&
    (N & (N - 1)) === 0 &&
    128 * N * r <= MEMORY_MAX_BYTES &&
    typeof salt === 'string';
  if (!fits) throw damaged(key, 'its scrypt parameters are impossible');
}
