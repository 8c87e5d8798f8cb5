/** The end of an era: with the grace period over, gc leaves nothing that nobody needs, and nobody dead holds anything. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { lockHolder } from '../../src/core/state/index.ts';
import type { GcDocument } from '../../src/core/localapi/index.ts';
import type { ObjectStore } from '../../src/core/objectstore/index.ts';
import type { SoakStore } from './store.ts';
import type { StoreKeys } from '../reader/independent-sealing.ts';
import { findOrphans } from './orphans.ts';
import { Loss } from './oracle.ts';
import { documentOf, type Outcome } from './verb.ts';

export interface Ending {
  readonly folder: string;
  readonly store: SoakStore;
  readonly objects: ObjectStore;
  /** What opens an encrypted store. */
  readonly keys: StoreKeys | undefined;
  /** Runs a command that must succeed. */
  readonly run: (words: readonly string[]) => Promise<Outcome>;
}

const GC_NOW = ['store', 'gc', '--grace', '0s', '--yes', '--json'];
const GC_PREVIEW = ['store', 'gc', '--grace', '0s', '--dry-run', '--json'];

/** Runs gc with no grace period. @throws Loss naming what it left that nothing needs */
export async function collectAll({ objects, keys, run }: Ending): Promise<void> {
  // The first run may only free what holds the rest: an interrupted creation becomes a purged volume.
  for (let times = 0; times < 2; times++) await run(GC_NOW);
  const { removed, waiting } = documentOf(await run(GC_PREVIEW)) as Pick<GcDocument, 'removed' | 'waiting'>;
  const left = removed.objects + waiting.objects;
  if (left > 0) throw new Loss(`gc would still remove ${left} objects after all was removed`);
  const orphans = await findOrphans(objects, keys);
  if (orphans.length > 0) throw new Loss(`gc left ${orphans.length} orphans: ${orphans.slice(0, 10).join(', ')}`);
}

/** After one more write. @throws Loss naming temporary files and locks that dead processes left */
export async function checkNoLitter({ folder, store, run }: Ending): Promise<void> {
  const home = join(folder, 'home');
  // Any write sweeps what killed processes left in the store's temporary folder.
  await run(['volume', 'create', 'last', '--size', '4KiB', '--json']);
  const litter = store.litter();
  if (litter.length > 0) throw new Loss(`temporary files are left in the store: ${litter.join(', ')}`);
  for (const file of readdirSync(join(home, 'locks')).filter((name) => name.endsWith('.lock'))) {
    const holder = await lockHolder(home, file.replace(/\.lock$/, '').replaceAll('+', ':'));
    if (holder !== undefined) throw new Loss(`process ${holder.pid} holds ${file}`);
  }
}
