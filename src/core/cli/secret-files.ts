/**
 * Files that hold secrets: reading one, making a key file, and keeping the recovery code that is given only once.
 * Files are made for their owner alone (mode 0600) and never replaced.
 */
import { open, unlink, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { SgwError, systemRandom, toSgwError, type Random } from '../kit/index.ts';

type Say = (text: string) => Promise<void>;

/** Far more than a key, a code or a passphrase needs. */
const SECRET_BYTES_MAX = 4096;
const KEY_BYTES = 32;
const KEY_FILE_MARK = 'sgw-key-1:';
const OWNER_ONLY = 0o600;

/**
 * The contents of a file without the line feed at its end. A remark tells when others can read it.
 * @throws invalid `bad-secret-file` when it is empty or too long; else as the system refuses it.
 */
export async function readSecretFile(file: string, say: Say): Promise<string> {
  const where = path.resolve(file);
  await using handle = await open(where, 'r');
  const stat = await handle.stat();
  if (stat.isFile() && (stat.mode & 0o077) !== 0) {
    await say(`note: ${where} can be read by others; make it yours alone with: chmod 600 ${where}`);
  }
  const text = (await readUpTo(handle, SECRET_BYTES_MAX + 1)).toString('utf8').replace(/\r?\n$/, '');
  const problem = text === '' ? 'is empty' : text.length > SECRET_BYTES_MAX ? 'is too long for a secret' : undefined;
  if (problem === undefined) return text;
  throw new SgwError('invalid', 'bad-secret-file', `${where} ${problem}`, {
    hint: 'Give a file that holds the secret on one line, and nothing else.',
    details: { path: where },
  });
}

/** Pipes give what they have, so one read is not enough. */
async function readUpTo(handle: FileHandle, lengthMax: number): Promise<Buffer> {
  const buffer = Buffer.alloc(lengthMax);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, lengthMax - length, null);
    length += bytesRead;
    if (bytesRead === 0 || length === lengthMax) return buffer.subarray(0, length);
  }
}

/** Makes a key file of fresh random bytes unless the file exists. Durable when it resolves. */
export async function makeKeyFile(file: string, say: Say, random: Random = systemRandom): Promise<void> {
  const where = path.resolve(file);
  const handle = await openNew(where).catch((error: unknown) => {
    if (isPresent(error)) return undefined;
    throw error;
  });
  if (handle === undefined) return;
  await writeAndClose(handle, where, `${KEY_FILE_MARK}${random.bytes(KEY_BYTES).toString('base64url')}\n`);
  await say(
    `Made the key file ${where}. Keep a copy elsewhere: without it and the recovery code nobody can read the store.`,
  );
}

/** What became of a result that has a recovery code. */
export interface Kept<R> {
  /** Without the code if a file holds it now. */
  readonly result: R;
  /** Absolute path of the file that holds the code; null when none does. */
  readonly codeFile: string | null;
}

/**
 * Runs `work` and writes the recovery code of its result, if it has one, to `file`. The file is made before, so that a
 * file that can not be written is noticed before there is a code to lose; it goes again when there is no code.
 * @throws conflict `file-exists`; what `work` throws. A code that can not be written stays in the result.
 */
export async function keepRecoveryCode<R extends { readonly recoveryCode: string | null }>(
  file: string | undefined,
  say: Say,
  work: () => Promise<R>,
): Promise<Kept<R>> {
  if (file === undefined) return { result: await work(), codeFile: null };
  const where = path.resolve(file);
  const handle = await openNew(where).catch((error: unknown) => {
    throw isPresent(error) ? alreadyThere(where) : error;
  });
  let result: R;
  try {
    result = await work();
  } catch (error) {
    await discard(handle, where);
    throw error;
  }
  if (result.recoveryCode === null) {
    await discard(handle, where);
    return { result, codeFile: null };
  }
  try {
    await writeAndClose(handle, where, `${result.recoveryCode}\n`);
  } catch (error) {
    await say(`note: the recovery code could not be written: ${toSgwError(error).message}; it is shown instead`);
    return { result, codeFile: null };
  }
  return { result: { ...result, recoveryCode: null }, codeFile: where };
}

const openNew = async (where: string): Promise<FileHandle> => open(where, 'wx', OWNER_ONLY);

const isPresent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EEXIST';

function alreadyThere(where: string): SgwError {
  return new SgwError('conflict', 'file-exists', `${where} exists`, {
    hint: 'Give another file: it may hold a recovery code that is still needed.',
    details: { path: where },
  });
}

/** Durable when it resolves; nothing is left of a file that could not be written. */
async function writeAndClose(handle: FileHandle, where: string, text: string): Promise<void> {
  try {
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    await using folder = await open(path.dirname(where), 'r');
    await folder.sync();
  } catch (error) {
    await discard(handle, where);
    throw error;
  }
}

async function discard(handle: FileHandle, where: string): Promise<void> {
  await handle.close().catch(() => undefined);
  await unlink(where).catch(() => undefined);
}
