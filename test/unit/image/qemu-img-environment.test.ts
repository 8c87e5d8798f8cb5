/** What of this process's environment the program qemu-img gets to see. */
import { chmod, writeFile } from 'node:fs/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { runQemuImg } from '../../../src/core/image/qemu-img.ts';
import { temporaryFolder } from './temporary-folder.ts';

const inFolder = temporaryFolder();

afterEach(() => {
  vi.unstubAllEnvs();
});

it('C16 qemu-img gets no variable of sgw, which may hold a passphrase, and all others', async () => {
  const binary = inFolder('qemu-img');
  await writeFile(binary, '#!/bin/sh\nenv\n');
  await chmod(binary, 0o700);
  vi.stubEnv('SGW_PASSPHRASE', 'correct horse battery staple');
  vi.stubEnv('SGW_NEW_PASSPHRASE', 'another horse');
  vi.stubEnv('COLOUR_OF_A_TEST', 'green');
  const seen = await runQemuImg(['--version'], { binary });
  expect(seen).toContain('COLOUR_OF_A_TEST=green');
  expect(seen).toContain('LC_ALL=C');
  expect(seen).not.toMatch(/SGW_|horse/);
});
