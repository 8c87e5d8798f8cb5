import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { directoryStore } from '../../src/core/objectstore/index.ts';
import { objectStoreContract } from './objectstore.ts';

objectStoreContract('directory', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-store-'));
  return {
    store: directoryStore({ path: join(folder, 'store') }),
    remove: async () => rm(folder, { recursive: true, force: true }),
  };
});
