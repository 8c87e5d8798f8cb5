/**
 * A command that imports into a volume is stopped (SIGSTOP) in the middle; another gateway takes the volume over and
 * imports another image; then the first goes on (SIGCONT). It must be told, and change nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../src/core/kit/index.ts';
import { directoryStore, type ObjectStore } from '../../src/core/objectstore/index.ts';
import { newState, writeState } from './disk-state.ts';
import { Model, oneState } from './model.ts';
import { Loss, Oracle } from './oracle.ts';
import { RUN, Runner, describeRun, documentOf, placeIn, type Outcome, type Place } from './verb.ts';

/** How far the import is when it is stopped: it has opened the volume, or has stored so many segments. */
export type StallAt = 'opened' | { readonly segments: number };

export interface StallOptions {
  /** An empty folder. */
  readonly folder: string;
  readonly random: Random;
  readonly at: StallAt;
  /** How long it stands still in all. */
  readonly stallMs: number;
}

/** Five segments and more of a full disk. */
const PAGES = 16_384;

/** @throws Loss when the stalled writer is not told, or changes anything; Error when it could not be stopped in time */
export async function stallWriter({ folder, random, at, stallMs }: StallOptions): Promise<void> {
  const store = join(folder, 'store');
  const [one, other] = [placeIn(folder, 'one'), placeIn(folder, 'other')];
  using runOne = new Runner(one);
  using runOther = new Runner(other);
  for (const [runner, name] of [[runOne, 'one'] as const, [runOther, 'other'] as const]) {
    await must(runner, ['activate', '--name', name, '--mode', 'cached', '--store', store, '--json']);
  }
  await must(runOne, ['volume', 'create', 'v', '--size', String(PAGES * 4096), '--json']);
  const [mine, others] = [newState(random, PAGES, 1, 1), newState(random, PAGES, 2, 1)];
  writeState(join(folder, 'mine.img'), mine);
  writeState(join(folder, 'others.img'), others);
  const { volumeId } = documentOf(await must(runOne, ['volume', 'show', 'v', '--json'])) as { volumeId: string };

  const stalled = await startAndStop(one, folder, join(store, 'volumes', volumeId), at);
  const stoppedMs = performance.now();
  try {
    await seizeVolume(runOther, folder);
    const objects = directoryStore({ path: store });
    const before = await objectsOf(objects, `volumes/${volumeId}/`);
    await sleep(Math.max(0, stallMs - (performance.now() - stoppedMs)));
    stalled.go();
    const told = await stalled.ended;
    checkTold(told);
    checkUnchanged(before, await objectsOf(objects, `volumes/${volumeId}/`));
    const oracle = new Oracle({ home: join(folder, 'other'), objects, pages: PAGES }, new Model());
    const volume = {
      name: 'v',
      image: '',
      imageState: undefined,
      possible: oneState(others),
      status: 'available',
    } as const;
    await oracle.checkVolume({ ...volume }, volumeId);
    await must(runOther, ['volume', 'verify', 'v', '--json']);
    await must(runOther, ['snapshot', 'create', 'v', '--name', 's', '--wait', '--json']);
  } finally {
    stalled.kill();
  }
}

/** Without --take-over the other gateway is told who has the volume; with it, it takes it. */
async function seizeVolume(runner: Runner, folder: string): Promise<void> {
  const words = ['volume', 'import', join(folder, 'others.img'), '--into', 'v', '--json'];
  const refused = await runner.run(words);
  if (refused.exitCode !== 4 || !refused.stdout.includes('volume-held') || !refused.stdout.includes('gateway one'))
    throw new Loss(`a second gateway is not told who holds the volume: ${describeRun(refused)}`);
  await must(runner, [...words, '--take-over']);
}

interface Stalled {
  readonly ended: Promise<{ readonly exitCode: number | null; readonly stdout: string; readonly stderr: string }>;
  go(): void;
  kill(): void;
}

async function startAndStop(place: Place, folder: string, volumeFolder: string, at: StallAt): Promise<Stalled> {
  const words = ['volume', 'import', join(folder, 'mine.img'), '--into', 'v', '--json'];
  const child = spawn(process.execPath, [RUN, ...words], {
    cwd: folder,
    env: place.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
  const ended = (async () => ({ exitCode: (await closed)[0], stdout: await stdout, stderr: await stderr }))();
  const isThere = (): boolean => (at === 'opened' ? isOpened(volumeFolder) : segmentsIn(volumeFolder) >= at.segments);
  const stopped = new Promise<void>((resolve) => {
    const watcher = watch(join(volumeFolder, '..', '..', '@tmp'), () => {
      if (!isThere()) return;
      child.kill('SIGSTOP');
      watcher.close();
      resolve();
    });
    void ended.then(() => {
      watcher.close();
      resolve();
    });
  });
  await stopped;
  if (child.exitCode !== null) throw new Error('the import ended before it could be stopped');
  return { ended, go: () => void child.kill('SIGCONT'), kill: () => void child.kill('SIGKILL') };
}

const isOpened = (folder: string): boolean => readdirSync(folder).some((name) => name === 'head.json@2');

function segmentsIn(folder: string): number {
  try {
    return readdirSync(join(folder, 'log')).filter((name) => name.endsWith('@1')).length;
  } catch {
    return 0;
  }
}

function checkTold(told: { readonly exitCode: number | null; readonly stdout: string; readonly stderr: string }): void {
  const isTold = told.exitCode === 4 && told.stdout.includes('"fenced"') && told.stdout.includes('gateway other');
  if (!isTold)
    throw new Loss(`the stalled writer ends with ${String(told.exitCode)}, and says: ${told.stdout}${told.stderr}`);
}

async function objectsOf(objects: ObjectStore, prefix: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { key, etag } of objects.list(prefix)) found.set(key, etag);
  return found;
}

/** Nothing changed and nothing came but a map object that no head names: gc removes it. */
function checkUnchanged(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
  const changed = [...before].filter(([key, etag]) => after.get(key) !== etag).map(([key]) => key);
  const added = [...after.keys()].filter((key) => !before.has(key) && !key.includes('/map/'));
  const names = [...changed, ...added];
  if (names.length > 0) throw new Loss(`the stalled writer changed ${names.join(', ')}`);
}

async function must(runner: Runner, words: readonly string[]): Promise<Outcome> {
  const outcome = await runner.run(words);
  if (outcome.exitCode !== 0) throw new Loss(`a command fails: ${describeRun(outcome)}`);
  return outcome;
}
