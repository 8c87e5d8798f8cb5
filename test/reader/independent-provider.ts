/**
 * Opens a store that its service seals, written from docs/formats/provider-sealed.md, keys.md and service.md alone, with
 * node:crypto: what comes out is a store without keys.
 */
import { createDecipheriv, hkdfSync } from 'node:crypto';
import { must, parseDocument } from './independent-formats.ts';
import type { StoredObjects } from './independent-places.ts';
import { derive, openUnit } from './independent-sealing.ts';

interface Key {
  readonly keyId: string;
  readonly bytes: Buffer;
}

const HEADER = 64;
const CHUNK = 65_536;

/** AES-256-GCM; anything that is not authentic throws a plain Error. */
function decipher(key: Uint8Array, nonce: Buffer, associated: Buffer, sealed: Buffer, what: string): Buffer {
  must(sealed.length >= 16, `${what}: too short to be sealed`);
  const cipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
  cipher.setAAD(associated).setAuthTag(sealed.subarray(-16));
  try {
    return Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
  } catch {
    throw new Error(`${what}: not authentic`);
  }
}

/** The 32 bytes of a service key's file. */
export function serviceKeyBytes(text: string): Buffer {
  const match = /^sgw-service-1:([A-Za-z0-9_-]{43})\n?$/.exec(text);
  must(match !== null, 'not a service key');
  return Buffer.from(match[1] ?? '', 'base64url');
}

function providerKey(serviceKey: Buffer, store: Record<string, unknown>): Key {
  const { mode, keyId, wrapped } = store['keyDerivation'] as { mode: string; keyId: string; wrapped: string };
  must(mode === 'provider', 'sgw.json: its provider holds no keys');
  const sealing = Buffer.from(hkdfSync('sha256', serviceKey, Buffer.alloc(0), 'sgw-service-seal-1', 32));
  const bytes = Buffer.from(wrapped, 'base64');
  const place = Buffer.from(`sgw.json ${String(store['storeId'])}`, 'utf8');
  return { keyId, bytes: decipher(sealing, bytes.subarray(0, 12), place, bytes.subarray(12), 'sgw.json') };
}

/** What one object holds. */
function openObject({ keyId, bytes }: Key, name: string, stored: Buffer): Buffer {
  must(stored.length >= HEADER + 16, `${name}: too short`);
  const header = stored.subarray(0, HEADER);
  must(header.toString('latin1', 0, 8) === 'SGWPROV1', `${name}: is not sealed`);
  must(header[8] === 1 && header[9] === 1, `${name}: sealed in another way`);
  must(header.toString('hex', 16, 32) === keyId, `${name}: sealed by another key`);
  const key = derive(bytes, header.subarray(32), 'sgw provider object');
  const plain: Buffer[] = [];
  for (let at = HEADER, number = 0; at < stored.length; at += CHUNK + 16, number++) {
    const chunk = stored.subarray(at, at + CHUNK + 16);
    const isLast = at + chunk.length === stored.length;
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32LE(number);
    nonce[11] = 4;
    const associated = Buffer.concat([header, Buffer.of(isLast ? 1 : 0), Buffer.from(name, 'utf8')]);
    plain.push(decipher(key, nonce, associated, chunk, `${name}, chunk ${String(number)}`));
  }
  return Buffer.concat(plain);
}

const containerOf = (name: string): string | undefined =>
  /^(?:volumes\/(vol-[0-9a-f]{17})|(?:snapshots|uploads)\/(snap-[0-9a-f]{17}))\/./.exec(name)?.slice(1).find(Boolean);

/** The store as one without keys. Documents of keys stay what they are. */
export async function openedByProvider(objects: StoredObjects, serviceKey: Buffer): Promise<StoredObjects> {
  const description = await objects.get('sgw.json');
  must(description !== undefined, 'sgw.json is missing');
  const store = parseDocument('sgw.json', description) as Record<string, unknown>;
  const provider = providerKey(serviceKey, store);
  const document = async (name: string): Promise<Record<string, unknown>> => {
    const stored = await objects.get(name);
    must(stored !== undefined, `${name} is missing`);
    return parseDocument(name, openObject(provider, name, stored)) as Record<string, unknown>;
  };
  const dataKey = async (id: string): Promise<Key> => {
    const { accountId, accountKeyId, keyId, wrapped } = await document(`service/data-keys/${id}.json`);
    const account = await document(`service/account-keys/${String(accountId)}.json`);
    must(account['keyId'] === accountKeyId, `${id}: wrapped by another key of its account`);
    const secret = Buffer.from(String(account['secret']), 'base64');
    const unit = Buffer.from(String(wrapped), 'base64');
    const bytes = openUnit(secret, 'sgw provider data key', `${String(store['storeId'])} ${id}`, unit);
    return { keyId: String(keyId), bytes };
  };
  return {
    keys: objects.keys,
    get: async (name) => {
      const stored = await objects.get(name);
      if (stored === undefined || name === 'sgw.json') return stored;
      const id = containerOf(name);
      return openObject(id === undefined ? provider : await dataKey(id), name, stored);
    },
  };
}
