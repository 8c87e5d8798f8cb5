/**
 * Opening a store with a key, and sealing what goes into one, written from docs/formats/keys.md, segment.md and map.md alone, with node:crypto. Anything
 * that is not authentic throws a plain Error.
 */
import { createCipheriv, createDecipheriv, hkdfSync, scryptSync } from 'node:crypto';
import { must, parseDocument } from './independent-formats.ts';

/** The whole object under a key, or undefined. */
type GetObject = (key: string) => Promise<Buffer | undefined>;

/** What a store's contents are opened with. */
export interface StoreKeys {
  readonly storeId: string;
  readonly accountKey: Buffer;
}

export type Secret =
  | { readonly kind: 'passphrase'; readonly passphrase: string }
  | { readonly kind: 'keyFile' | 'recovery'; readonly bytes: Buffer };

interface Slot {
  readonly slotId: string;
  readonly kind: string;
  readonly kdf: {
    readonly name: string;
    readonly N: number;
    readonly r: number;
    readonly p: number;
    readonly salt: string;
  };
  readonly wrapped: string;
}

export function derive(key: Uint8Array, salt: Uint8Array, info: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, info, 32));
}

/** AES-256-GCM. The nonce: `number` in 4 bytes, 7 zeroes, `use`. */
export function open(key: Uint8Array, use: number, number: number, associated: string, sealed: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(number, 0);
  nonce[11] = use;
  const cut = sealed.length - 16;
  must(cut >= 0, `${associated}: too short to be sealed`);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
  decipher.setAAD(Buffer.from(associated, 'utf8'));
  decipher.setAuthTag(sealed.subarray(cut));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, cut)), decipher.final()]);
  } catch {
    throw new Error(`${associated}: not authentic`);
  }
}

/** Seals what `open` opens: ciphertext and tag. */
export function close(key: Uint8Array, use: number, number: number, associated: string, plain: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(number, 0);
  nonce[11] = use;
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
  cipher.setAAD(Buffer.from(associated, 'utf8'));
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** A salt that is new in a test: no two calls give the same. */
let salts = 0;
export function newSalt(): Buffer {
  salts += 1;
  const salt = Buffer.alloc(32);
  salt.writeUInt32LE(salts);
  return salt;
}

/** Seals a unit with a salt of its own. */
export function closeUnit(key: Uint8Array, info: string, associated: string, plain: Uint8Array): Buffer {
  const salt = newSalt();
  return Buffer.concat([salt, close(derive(key, salt, info), 3, 0, associated, plain)]);
}

/** Opens a unit: salt of 32 bytes, ciphertext, tag. */
export function openUnit(key: Uint8Array, info: string, associated: string, unit: Buffer): Buffer {
  return open(derive(key, unit.subarray(0, 32), info), 3, 0, associated, unit.subarray(32));
}

async function document(get: GetObject, key: string): Promise<Record<string, unknown>> {
  const bytes = await get(key);
  must(bytes !== undefined, `${key} is missing`);
  return parseDocument(key, bytes) as Record<string, unknown>;
}

/** Unlocks the key of a store with one of its secrets. */
export async function unlock(get: GetObject, secret: Secret): Promise<StoreKeys> {
  const store = await document(get, 'sgw.json');
  const { keyId } = store['keyDerivation'] as { keyId: string };
  const storeId = String(store['storeId']);
  const { slots } = (await document(get, `keys/${keyId}.json`)) as unknown as { slots: readonly Slot[] };
  for (const { slotId, kind, kdf, wrapped } of slots) {
    if (kind !== secret.kind) continue;
    let key: Buffer;
    if (secret.kind === 'passphrase') {
      must(kdf.name === 'scrypt', `${slotId}: a passphrase is not stretched`);
      const { N, r, p } = kdf;
      key = scryptSync(secret.passphrase.normalize('NFC'), Buffer.from(kdf.salt, 'base64'), 32, {
        N,
        r,
        p,
        maxmem: 2 ** 31,
      });
    } else key = secret.bytes;
    const associated = `${storeId} ${keyId} ${slotId} ${kind}`;
    return { storeId, accountKey: openUnit(key, 'sgw account key', associated, Buffer.from(wrapped, 'base64')) };
  }
  throw new Error(`no slot is opened by a ${secret.kind}`);
}

/** The 32 bytes of a key file. */
export function keyFileBytes(text: string): Buffer {
  const match = /^sgw-key-1:([A-Za-z0-9_-]{43})\n$/.exec(text);
  must(match !== null, 'not a key file');
  return Buffer.from(match[1] ?? '', 'base64url');
}

/** The data key of a volume. */
export async function volumeKey(get: GetObject, keys: StoreKeys, volumeId: string): Promise<Buffer> {
  const { wrapped } = await document(get, `volumes/${volumeId}/key.json`);
  const unit = Buffer.from(String(wrapped), 'base64');
  return openUnit(keys.accountKey, 'sgw data key', `${keys.storeId} ${volumeId}`, unit);
}

/** The fields of a document, those included that are sealed. */
export function openDocument(keys: StoreKeys, key: string, stored: Record<string, unknown>): Record<string, unknown> {
  const { check: _check, format, key: _key, changeId, version, sealed, ...clear } = stored;
  must(typeof sealed === 'string', `${key}: not sealed`);
  const names = Object.keys(clear).sort();
  const canonical = JSON.stringify(Object.fromEntries(names.map((name) => [name, clear[name]])));
  const associated = [key, changeId, version, canonical].join('\n');
  const plain = openUnit(keys.accountKey, 'sgw document', associated, Buffer.from(sealed, 'base64'));
  return { format, changeId, version, ...clear, ...(JSON.parse(plain.toString('utf8')) as object) };
}

/** The volume whose data key opens a stored node, when it is sealed. */
export function sealedNodeVolume(stored: Buffer): string | undefined {
  return stored[0] === 2 ? `vol-${stored.toString('latin1', 1, 18)}` : undefined;
}

/** A stored node as it was before it was sealed. */
export function openNode(dataKey: Buffer, key: string, offset: number, stored: Buffer): Buffer {
  return openUnit(dataKey, 'sgw map node', `${key} ${String(offset)}`, stored.subarray(18));
}

/** Seals a packed node. */
export function sealNode(dataKey: Buffer, volumeId: string, key: string, offset: number, packed: Buffer): Buffer {
  const unit = closeUnit(dataKey, 'sgw map node', `${key} ${String(offset)}`, packed);
  return Buffer.concat([Buffer.of(2), Buffer.from(volumeId.slice(4), 'latin1'), unit]);
}
