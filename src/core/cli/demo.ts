/**
 * The quickstart's story on the user's own machine: activate, import, snapshot, change, re-import,
 * snapshot, diff, clone, export, compare. Each step is told before it runs, with the command that does
 * the same. Works through the gateway's operations only.
 *
 * Invariants: the user's own image is only read; without `--keep` the demo's directory, in which its
 * home is unless one was named, is removed, also after a failure.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { formatSize, SgwError, systemClock } from '../kit/index.ts';
import type { Clock } from '../kit/index.ts';
import { changeImage, copyImage, isIdentical, makeImage } from './demo-image.ts';
import type { DemoDocument } from './documents.ts';
import type { Session } from './session.ts';
import type { Style } from './style.ts';
import { formatDuration, renderFields } from './tables.ts';

export interface DemoOptions {
  /** An image to import; the demo makes one when absent. */
  readonly file?: string | undefined;
  /** Whether the directory will be kept. */
  readonly keep: boolean;
  readonly clock?: Clock;
}

/** Runs `work` with an empty directory for a demo, which is removed afterwards unless `keep`. */
export async function withDemoFolder(keep: boolean, work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sgw-demo-'));
  try {
    await work(folder);
  } finally {
    if (!keep) await rm(folder, { recursive: true, force: true });
  }
}

interface Story {
  readonly session: Session;
  readonly folder: string;
  readonly clock: Clock;
  readonly steps: DemoDocument['steps'];
}

/** Tells and does one step, and records how long it took. */
async function step<T>(
  story: Story,
  command: string,
  why: string,
  work: () => Promise<T>,
  outcomeOf: (result: T) => string,
): Promise<T> {
  await story.session.say(`\n${why}\n  $ ${command}`);
  const startMs = story.clock.monotonicMs();
  const result = await work();
  const durationMs = Math.round(story.clock.monotonicMs() - startMs);
  const outcome = outcomeOf(result);
  story.steps.push({ command, outcome, durationMs });
  await story.session.say(`  ${outcome} (${formatDuration(durationMs)})`);
  return result;
}

/**
 * Tells the story in `folder`, an existing directory for the demo's files.
 * @throws corrupt `demo-differs` when an export is not what was imported; else as the operations throw.
 */
export async function runDemo(session: Session, folder: string, options: DemoOptions): Promise<DemoDocument> {
  const clock = options.clock ?? systemClock;
  const story: Story = { session, folder, clock, steps: [] };
  const startMs = clock.monotonicMs();
  const image = options.file === undefined ? path.join(folder, 'disk.img') : path.resolve(options.file);
  if (options.file === undefined) await makeImage(image);
  const { size } = await stat(image);
  await session.say(
    `This is the life of a disk image in a storage gateway.\nIts home is ${session.home}; the image is ${image}, ${formatSize(size)}.`,
  );
  const names = await startStory(story, image);
  const changed = await changeStory(story, image, names);
  const identical = await endStory(story, names, { image, changed });
  if (!identical) {
    throw new SgwError('corrupt', 'demo-differs', 'an export is not byte-identical to what was imported', {
      details: { home: session.home },
    });
  }
  const isInside = session.home.startsWith(folder + path.sep);
  return {
    home: session.home,
    kept: options.keep || !isInside,
    image,
    sizeBytes: size,
    identical,
    steps: story.steps,
    durationMs: Math.round(clock.monotonicMs() - startMs),
  };
}

interface Names {
  readonly volume: string;
  readonly first: string;
  readonly second: string;
  readonly clone: string;
}

async function startStory(story: Story, image: string): Promise<Names> {
  const { session, clock } = story;
  const tag = clock.nowMs().toString(36).slice(-5);
  const names: Names = { volume: `golden-${tag}`, first: `v1-${tag}`, second: `v2-${tag}`, clone: `build-${tag}` };
  const status = await session.call('status', {});
  if (!status.activated) {
    await step(
      story,
      'sgw activate --name demo --mode cached',
      'A gateway is activated once. Its data goes to an object store, here a directory in its home.',
      async () => session.call('activate', { name: 'demo', mode: 'cached' }),
      (gateway) => `${gateway.gatewayId}, store ${gateway.storeId}`,
    );
  }
  await step(
    story,
    `sgw volume import ${path.basename(image)} --name ${names.volume}`,
    'The image becomes a volume: read once, compressed, uploaded. Holes and zeroes cost nothing.',
    async () => session.call('volume.import', { file: image, name: names.volume }),
    (result) => `${formatSize(result.readBytes)} read, ${formatSize(result.storedBytes)} stored`,
  );
  await snapshotStep(story, names.volume, names.first, 'A snapshot pins this state under a name. It copies nothing.');
  return names;
}

async function changeStory(story: Story, image: string, names: Names): Promise<string> {
  const { session, folder } = story;
  const changed = path.join(folder, 'changed.img');
  await copyImage(image, changed);
  const changedBytes = await changeImage(changed);
  await step(
    story,
    `sgw volume import changed.img --into ${names.volume}`,
    `Now ${formatSize(changedBytes)} of the image change. Importing it again commits only what changed.`,
    async () => session.call('volume.import', { file: changed, into: names.volume }),
    (result) => `${formatSize(result.changedBytes)} changed, ${formatSize(result.storedBytes)} stored`,
  );
  await snapshotStep(story, names.volume, names.second, 'A second snapshot.');
  await step(
    story,
    `sgw snapshot diff ${names.first} ${names.second}`,
    'Two snapshots can be compared; what they share is not even looked at.',
    async () => session.call('snapshot.diff', { from: names.first, to: names.second }),
    (diff) => `${formatSize(diff.changedBytes)} differ, in ${String(diff.extents.length)} extents`,
  );
  return changed;
}

async function endStory(story: Story, names: Names, files: { image: string; changed: string }): Promise<boolean> {
  const { session, folder } = story;
  await step(
    story,
    `sgw volume create ${names.clone} --from-snapshot ${names.first}`,
    'A clone is a new volume that starts as a snapshot. It is there at once, however large.',
    async () => session.call('volume.create', { name: names.clone, fromSnapshot: names.first }),
    (volume) => `${volume.volumeId}, ${formatSize(volume.sizeBytes)}`,
  );
  const pairs = [
    [
      names.first,
      files.image,
      path.join(folder, 'v1.img'),
      'An export writes a snapshot to a sparse file, and the demo compares it with what was imported.',
    ],
    [names.second, files.changed, path.join(folder, 'v2.img'), 'The second snapshot is exported and compared as well.'],
  ] as const;
  let identical = true;
  for (const [snapshot, original, exported, why] of pairs) {
    await step(
      story,
      `sgw snapshot export ${snapshot} ${path.basename(exported)}`,
      why,
      async () => {
        await session.call('snapshot.export', { snapshot, path: exported, format: 'raw' });
        return isIdentical(original, exported, session.signal);
      },
      (isSame) => (isSame ? 'byte-identical' : 'DIFFERENT'),
    ).then((isSame) => {
      identical &&= isSame;
    });
  }
  return identical;
}

async function snapshotStep(story: Story, volume: string, name: string, why: string): Promise<void> {
  await step(
    story,
    `sgw snapshot create ${volume} --name ${name}`,
    why,
    async () => story.session.call('snapshot.create', { volume, name }),
    (snapshot) => `${snapshot.snapshotId}, ${snapshot.state}`,
  );
}

/** How the demo ended. */
export function demoText(demo: DemoDocument, style: Style): string {
  return `\n${renderFields(
    [
      demo.identical ? ['exports', 'byte-identical to the images', style.green] : ['exports', 'different', style.red],
      ['took', formatDuration(demo.durationMs)],
      ['home', demo.kept ? demo.home : `${demo.home} (removed)`],
    ],
    style,
  )}`;
}
