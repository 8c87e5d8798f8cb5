import { mkdtempSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A folder for one test file, removed after it. */
export function temporaryFolder(): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'sgw-image-'));
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  return (name) => join(folder, name);
}

/** Makes a sparse file with `pieces` of bytes at their offsets. */
export async function makeSparseFile(
  path: string,
  sizeBytes: number,
  pieces: Readonly<Record<number, Uint8Array>>,
): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.truncate(sizeBytes);
    for (const [offset, bytes] of Object.entries(pieces)) await handle.write(bytes, 0, bytes.length, Number(offset));
    await handle.sync();
  } finally {
    await handle.close();
  }
}
