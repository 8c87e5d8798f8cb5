/**
 * Completes what the user left out, by asking: the three verbs that can be started with nothing given.
 * Without a terminal, what has a sensible default takes it, and the rest is an error naming the flag.
 */
import { lstat, stat } from 'node:fs/promises';
import os from 'node:os';
import { formatSize, gatewayNameOfHost, quoted, SgwError } from '../kit/index.ts';
import type { GatewayMode, Input } from '../localapi/index.ts';
import { gatewayPath } from './gateway-path.ts';
import { currentRuntime } from './runtime.ts';
import type { Session } from './session.ts';
import { storeLocation } from './store-location.ts';
import { formatDuration } from './tables.ts';
import { checkName, checkPath, given as whatIsGiven, parseVolumeSize } from './values.ts';

const MODES = [
  { value: 'cached', name: 'cached: data lives in the object store, hot data is cached here' },
  { value: 'shadowing', name: 'shadowing: data lives in local images, every write is also uploaded' },
] as const;

interface Activation {
  readonly name?: string | undefined;
  readonly mode?: GatewayMode | undefined;
  readonly store?: string | undefined;
}

/**
 * What was given and, on a terminal, for a home that is no gateway yet, also what was not: name, mode and, if
 * nothing was given, where the store is. The gateway has defaults for the rest.
 */
export async function askActivation(
  session: Session,
  given: Activation,
): Promise<Pick<Input<'activate'>, 'name' | 'mode' | 'store'>> {
  const { prompts } = session;
  const isBare = given.name === undefined && given.mode === undefined && given.store === undefined;
  const isMute = !prompts.isInteractive || (await session.call('status', {})).activated;
  if (isMute) return withStore(whatIsGiven({ name: given.name, mode: given.mode }), given.store);
  const name =
    given.name ??
    (await prompts.text({
      message: 'Name of this gateway:',
      flag: '--name NAME',
      default: gatewayNameOfHost(os.hostname()),
      check: (text) => checkName(text, 'name'),
    }));
  const mode =
    given.mode ?? ((await prompts.choice({ message: 'Mode:', flag: '--mode MODE', choices: MODES })) as GatewayMode);
  const store = isBare
    ? await prompts.text({
        message: 'Directory of the object store, or s3://BUCKET/PREFIX (empty: inside the home):',
        flag: '--store DIR',
      })
    : given.store;
  return withStore({ name, mode }, store);
}

const withStore = <T extends object>(input: T, text: string | undefined): T & { store?: string } => {
  const store = text === undefined || text === '' ? undefined : storeLocation({ store: text });
  return store === undefined ? input : { ...input, store };
};

interface NewVolume {
  readonly name?: string | undefined;
  readonly sizeBytes?: number | undefined;
  readonly fromSnapshot?: string | undefined;
  /** With `@TIME` as it was then. */
  readonly fromVolume?: string | undefined;
}

/** Name, and a size unless the volume is a clone. @throws invalid `size-or-snapshot` when both or neither can be had. */
export async function askNewVolume(
  session: Session,
  given: NewVolume,
): Promise<Pick<Input<'volume.create'>, 'name' | 'sizeBytes' | 'fromSnapshot' | 'fromVolume' | 'recoveryPoint'>> {
  const { prompts } = session;
  const name =
    given.name ??
    (await prompts.text({
      message: 'Name of the volume:',
      flag: 'the argument NAME',
      check: (text) => checkName(text, 'name'),
    }));
  const { fromVolume } = given;
  if (fromVolume !== undefined) {
    const at = fromVolume.indexOf('@');
    const size = given.sizeBytes === undefined ? {} : { sizeBytes: given.sizeBytes };
    if (at < 0) return { name, fromVolume, ...size };
    return { name, fromVolume: fromVolume.slice(0, at), recoveryPoint: fromVolume.slice(at + 1), ...size };
  }
  if (given.fromSnapshot !== undefined) {
    return {
      name,
      fromSnapshot: given.fromSnapshot,
      ...(given.sizeBytes === undefined ? {} : { sizeBytes: given.sizeBytes }),
    };
  }
  if (given.sizeBytes === undefined && !prompts.isInteractive) {
    throw new SgwError(
      'invalid',
      'size-or-snapshot',
      `volume ${quoted(name)} needs a size or a snapshot to start from`,
      {
        hint: 'Give --size SIZE, such as 10GiB, or --from-snapshot SNAPSHOT.',
      },
    );
  }
  const sizeBytes =
    given.sizeBytes ??
    parseVolumeSize(
      await prompts.text({
        message: 'Size, such as 10GiB:',
        flag: '--size SIZE',
        check: (text) => parseVolumeSize(text, 'size'),
      }),
      'size',
    );
  return { name, sizeBytes };
}

interface Export {
  readonly snapshot?: string | undefined;
  readonly out?: string | undefined;
  /** Whether an existing file may be replaced. */
  readonly force: boolean;
}

/** Which snapshot, from a list, and the file to write. What was given is checked before anything is asked. */
export async function askExport(session: Session, given: Export): Promise<{ snapshot: string; path: string }> {
  const { prompts } = session;
  const check = async (file: string): Promise<void> => checkOutput(file, given.force);
  if (prompts.isInteractive && given.snapshot === undefined && given.out !== undefined) await check(given.out);
  if (prompts.isInteractive && given.snapshot !== undefined && given.out === undefined) {
    await session.call('snapshot.show', { snapshot: given.snapshot });
  }
  const snapshot = given.snapshot ?? (await chooseSnapshot(session));
  const out =
    given.out ??
    (await prompts.text({ message: 'File to write:', flag: 'the argument OUT', default: `${snapshot}.img`, check }));
  return { snapshot, path: gatewayPath(out) };
}

/** Refuses what the export itself would refuse, before it is begun. */
async function checkOutput(file: string, isForced: boolean): Promise<void> {
  checkPath(file, 'OUT');
  const place = gatewayPath(file);
  // That of another machine is looked at there.
  if (currentRuntime().isRemote === true) return;
  const present = await lstat(place).catch(() => undefined);
  if (isForced || present?.isFile() !== true) return;
  throw new SgwError('conflict', 'file-exists', `${file} exists`, {
    hint: 'Give another file, or --force to replace it.',
    details: { path: place },
  });
}

async function chooseSnapshot(session: Session): Promise<string> {
  const question = { message: 'Snapshot:', flag: 'the argument SNAPSHOT' };
  if (!session.prompts.isInteractive) return await session.prompts.text(question);
  const { snapshots } = await session.call('snapshot.list', {});
  if (snapshots.length === 0) {
    throw new SgwError('notFound', 'no-snapshots', 'there is no snapshot to export', {
      hint: 'Make one with: sgw snapshot create VOLUME',
    });
  }
  const choices = snapshots.map((snapshot) => ({
    value: snapshot.name,
    name: `${snapshot.name} (${snapshot.volumeName})`,
  }));
  return await session.prompts.choice({ ...question, choices });
}

/** Below this, gc could remove what a writer elsewhere has begun to use. */
const GRACE_SAFE_MS = 3_600_000;

/**
 * Asks before gc runs with a grace period that is shorter than what a slow writer may take.
 * @throws as `confirmDestruction`.
 */
export async function confirmHasty(session: Session, isConfirmed: boolean, graceMs: number | undefined): Promise<void> {
  if (graceMs === undefined || graceMs >= GRACE_SAFE_MS) return;
  await confirmDestruction(session, isConfirmed, {
    what: `remove what has been unused for only ${formatDuration(graceMs)}`,
    lookUp: async () =>
      'Only do this when no other gateway works with the store: a short grace period takes away what a slow one still needs.',
  });
}

/**
 * Asks before an image that has something in it is overwritten; `snapshotFirst`: what it holds is kept in a snapshot.
 * @throws as `confirmDestruction`
 */
export async function confirmOverwrite(
  session: Session,
  isConfirmed: boolean,
  file: string,
  snapshotFirst: boolean,
): Promise<void> {
  const present = await stat(file).catch(() => undefined);
  if (present === undefined || (present.isFile() && present.size === 0)) return;
  const holds = present.isFile() ? `It holds ${formatSize(present.size)}. ` : '';
  const fate = snapshotFirst
    ? 'A snapshot of what is in it is taken first.'
    : 'What is in it is lost: no snapshot is taken.';
  await confirmDestruction(session, isConfirmed, {
    what: `overwrite ${file}`,
    lookUp: async () => Promise.resolve(`${holds}${fate}`),
  });
}

interface Destruction {
  /** What would be done, as `delete volume "golden"`. */
  readonly what: string;
  /** Fails if there is nothing to destroy, before it is asked about; else what should be known before the answer. */
  readonly lookUp: () => Promise<string>;
  /** With `--if-exists` what does not exist needs no confirmation. */
  readonly ifExists?: boolean;
}

/**
 * Asks before something is destroyed, unless `isConfirmed`.
 * @throws what `lookUp` throws; invalid `confirmation-needed` without a terminal; aborted `not-confirmed` for a no.
 */
export async function confirmDestruction(
  session: Session,
  isConfirmed: boolean,
  destruction: Destruction,
): Promise<void> {
  if (isConfirmed) return;
  const { what, lookUp, ifExists } = destruction;
  if (!session.prompts.isInteractive) {
    throw new SgwError('invalid', 'confirmation-needed', `this would ${what}, and can not be asked here`, {
      hint: 'Add --yes to do it without being asked.',
    });
  }
  let known: string;
  try {
    known = await lookUp();
  } catch (error) {
    if (ifExists === true && error instanceof SgwError && error.kind === 'notFound') return;
    throw error;
  }
  await session.prompts.confirm({ message: `${known}${known === '' ? '' : ' '}Really ${what}?`, flag: '--yes' });
}
