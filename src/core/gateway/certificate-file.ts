/**
 * The certificate of a gateway that was activated over the network: `gateway.crt` in its home, 0600, PEM, its own first and
 * then those up to the service's CA. It is no secret, but of no use to others. It ends soon, and is replaced before that.
 */
import { readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { toSgwError } from '../kit/index.ts';

const NAME = 'gateway.crt';
const FILE_MODE = 0o600;

/** Undefined when there is none. */
export async function readCertificateFile(home: string): Promise<string | undefined> {
  try {
    return await readFile(join(home, NAME), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toSgwError(error);
  }
}

/** Replaces what was there, at once as a whole. Durable when it resolves. */
export async function writeCertificateFile(home: string, pem: string): Promise<void> {
  const { default: writeFileAtomic } = await import('write-file-atomic');
  try {
    await writeFileAtomic(join(home, NAME), pem, { mode: FILE_MODE, fsync: true });
  } catch (error) {
    throw toSgwError(error);
  }
}

export async function removeCertificateFile(home: string): Promise<void> {
  try {
    await unlink(join(home, NAME));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw toSgwError(error);
  }
}
