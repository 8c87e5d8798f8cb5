/**
 * The file of the service key: 0600, one line `sgw-service-1:` and 32 bytes in base64url. All servers over one store have the
 * same one, and a store's secrets are worth nothing without it: a copy of it belongs where copies of keys are kept.
 */
import { link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SgwError, toSgwError, type Random } from '../../kit/index.ts';
import { SERVICE_KEY_BYTES, ServiceKey } from '../../service/server/index.ts';

const LINE = /^sgw-service-1:([\w-]{43})\n?$/;
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** What others than its owner may not have. */
const OPEN_MODE = 0o077;
const BYTES_MAX = 4096;

/**
 * Reads the key; makes it where `mayMake` and there is none. Durable when it resolves.
 * @throws invalid `bad-service-key`; denied `service-key-open` when others than its owner can read it; notFound
 * `service-key-missing`
 */
export async function openServiceKey(
  path: string,
  random: Random,
  { mayMake }: { readonly mayMake: boolean },
): Promise<ServiceKey> {
  const present = await readKey(path);
  if (present !== undefined) return new ServiceKey(present, random);
  if (!mayMake) throw missing(path);
  await makeKey(path, random);
  // What is there now may be another process's, which was faster.
  const made = await readKey(path);
  if (made === undefined) throw missing(path);
  return new ServiceKey(made, random);
}

async function readKey(path: string): Promise<Buffer | undefined> {
  try {
    const { mode, size } = await stat(path);
    if ((mode & OPEN_MODE) !== 0) throw tooOpen(path);
    const encoded = size > BYTES_MAX ? undefined : LINE.exec(await readFile(path, 'utf8'))?.[1];
    const secret = Buffer.from(encoded ?? '', 'base64url');
    if (secret.length === SERVICE_KEY_BYTES) return secret;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toSgwError(error);
  }
  throw new SgwError('invalid', 'bad-service-key', `${path} does not hold a service key`, {
    hint: 'Put a copy of it back, or name another file by --service-key-file.',
    details: { path },
  });
}

/** It gets its name when it is whole, unless another one has that by then. */
async function makeKey(path: string, random: Random): Promise<void> {
  const temporary = `${path}.${String(process.pid)}.new`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
    const file = await open(temporary, 'w', FILE_MODE);
    try {
      await file.writeFile(`sgw-service-1:${random.bytes(SERVICE_KEY_BYTES).toString('base64url')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    try {
      await link(temporary, path);
    } finally {
      await unlink(temporary);
    }
    const folder = await open(dirname(path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw toSgwError(error);
  }
}

const missing = (path: string): SgwError =>
  new SgwError('notFound', 'service-key-missing', `there is no service key at ${path}`, {
    hint: 'The store has secrets that only its service key opens: give that file by --service-key-file.',
    details: { path },
  });

const tooOpen = (path: string): SgwError =>
  new SgwError('denied', 'service-key-open', `${path} can be used by others than its owner`, {
    hint: `Whoever reads it has every secret of the service: chmod 600 ${path}`,
    details: { path },
  });
