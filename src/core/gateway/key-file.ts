/**
 * The private key of a gateway: `gateway.key` in its home, 0600, one line `sgw-identity-1:` and 32 bytes in base64url.
 * It is nowhere else: not in `state.json`, not in the store, in no message. Whoever deletes it deletes the identity.
 */
import { readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { SgwError, toSgwError } from '../kit/index.ts';
import { PrivateKey } from '../protocol/index.ts';

const NAME = 'gateway.key';
const FILE_MODE = 0o600;
const LINE = /^sgw-identity-1:([\w-]{43})\n$/;

/** Undefined when there is none. @throws corrupt `identity-damaged` */
export async function readPrivateKey(home: string): Promise<PrivateKey | undefined> {
  const path = join(home, NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toSgwError(error);
  }
  const encoded = LINE.exec(text)?.[1];
  if (encoded !== undefined) return PrivateKey.of(Buffer.from(encoded, 'base64url'));
  throw new SgwError('corrupt', 'identity-damaged', `${path} does not hold a private key`, {
    hint: 'Put a copy of it back, or begin anew: sgw deactivate, then sgw activate.',
    details: { path },
  });
}

/** @throws corrupt `identity-damaged`, `identity-missing` */
export async function requirePrivateKey(home: string, gatewayId: string): Promise<PrivateKey> {
  const key = await readPrivateKey(home);
  if (key !== undefined) return key;
  throw new SgwError('corrupt', 'identity-missing', `the private key of gateway ${gatewayId} is missing`, {
    hint: 'Put a copy of gateway.key back, or begin anew: sgw deactivate, then sgw activate.',
    details: { gatewayId, home },
  });
}

/** Replaces what was there. Durable when it resolves. */
export async function writePrivateKey(home: string, key: PrivateKey): Promise<void> {
  const { default: writeFileAtomic } = await import('write-file-atomic');
  const text = `sgw-identity-1:${key.secret().toString('base64url')}\n`;
  try {
    await writeFileAtomic(join(home, NAME), text, { mode: FILE_MODE, fsync: true });
  } catch (error) {
    throw toSgwError(error);
  }
}

export async function removePrivateKey(home: string): Promise<void> {
  try {
    await unlink(join(home, NAME));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw toSgwError(error);
  }
}
