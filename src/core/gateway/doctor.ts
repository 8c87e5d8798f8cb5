/**
 * `doctor`: looks at everything that a gateway stands on, and says of each thing whether it is well, and else what to do. It
 * changes nothing but what the probes of the store write and remove again.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { formatSize, shellWord, toSgwError, type ErrorKind } from '../kit/index.ts';
import type { AttachmentDocument, DoctorDocument, ScheduleDocument, StoreCheckDocument } from '../localapi/index.ts';
import { freeBytes, sharesFileSystem } from '../objectstore/index.ts';
import { GATEWAY_LOCK, lockHolder, openState, type GatewayState } from '../state/index.ts';
import type { GatewayParts } from './parts.ts';
import { logsOf } from './serving/local-log.ts';
import { waitingText } from './serving/portals.ts';
import type { WaitingListener } from './serving/served.ts';
import { cacheFolder, cacheLimits, logFolder, volumeFolder, volumeSettings } from './serving/settings.ts';
import { isDirectory, openableStore } from './store-place.ts';

type Check = DoctorDocument['checks'][number];

const well = (name: string, message: string): Check => ({ name, state: 'ok', message, hint: null, kind: null });
const warning = (name: string, message: string, hint: string): Check => ({
  name,
  state: 'warning',
  message,
  hint,
  kind: null,
});
const failed = (name: string, kind: ErrorKind, message: string, hint: string | null): Check => ({
  name,
  state: 'failed',
  message,
  hint,
  kind,
});

export interface DoctorSources {
  readonly parts: GatewayParts;
  readonly exports: (record: GatewayState) => readonly AttachmentDocument[];
  readonly schedules: (record: GatewayState) => readonly ScheduleDocument[];
  readonly waiting: readonly WaitingListener[];
  readonly checkStore: () => Promise<StoreCheckDocument>;
}

/** Never fails for what it finds. */
export async function examine({
  parts,
  exports,
  schedules,
  waiting,
  checkStore,
}: DoctorSources): Promise<DoctorDocument> {
  const { home } = parts;
  const checks: Check[] = [await guarded('home', async () => checkHome(home))];
  let record: GatewayState | null = null;
  checks.push(
    await guarded('state', async () => {
      record = (await openState(home)).gateway;
      return record === null
        ? failed('state', 'conflict', 'the home is not activated', 'sgw activate')
        : well('state', 'state.json is whole');
    }),
  );
  const found = record as GatewayState | null;
  if (found !== null) {
    const rows = exports(found);
    checks.push(
      await guarded('daemon', async () => checkDaemon(home, rows)),
      await guarded('store', async () => storeCheck(await checkStore())),
      await guarded('disk', async () => checkDisk(home, found)),
      await guarded('space', async () => checkSpace(home, found)),
      checkClock(parts.clock.nowMs(), found),
      ...waiting.map(listenerCheck),
      ...(await chapChecks(home, found)),
      ...rows.filter(({ reason }) => reason !== null).map((row) => exportCheck(row, found)),
      ...schedules(found).flatMap((one) => [scheduleCheck(one), ...verificationCheck(one)]),
      ...(await logChecks(home, rows)),
    );
  }
  return { ok: checks.every(({ state }) => state !== 'failed'), home, checks };
}

async function guarded<C extends Check | undefined>(name: string, check: () => Promise<C>): Promise<C | Check> {
  try {
    return await check();
  } catch (error) {
    const { kind, message, hint } = toSgwError(error);
    return failed(name, kind, message, hint ?? null);
  }
}

async function checkHome(home: string): Promise<Check> {
  const { mode, uid } = await stat(home);
  if (process.getuid !== undefined && uid !== process.getuid())
    return failed('home', 'denied', `${home} belongs to another user`, 'Run sgw as the user that the home belongs to.');
  if ((mode & 0o077) !== 0)
    return warning('home', `${home} can be read by others (mode ${(mode & 0o777).toString(8)})`, `chmod 700 ${home}`);
  return well('home', `${home} is readable by you alone`);
}

async function checkDaemon(home: string, exports: readonly AttachmentDocument[]): Promise<Check> {
  const owner = await lockHolder(home, GATEWAY_LOCK);
  if (owner !== undefined) return well('daemon', `the gateway runs, as process ${String(owner.pid)}`);
  if (exports.length === 0) return well('daemon', 'no gateway runs, and nothing is attached');
  return warning('daemon', `no gateway runs, and ${String(exports.length)} exports wait for it`, 'sgw gateway start');
}

function storeCheck(check: StoreCheckDocument): Check {
  const lacking = check.probes.find((probe) => !probe.ok && probe.required);
  if (check.writable && lacking === undefined) return well('store', `${check.store} answers and can be written`);
  const hint = '`sgw store check` shows all it can and can not do.';
  return failed(
    'store',
    'unavailable',
    `${check.store} can not be used: ${lacking?.message ?? 'it takes no writes'}`,
    hint,
  );
}

async function checkDisk(home: string, record: GatewayState): Promise<Check> {
  const place = openableStore(home, record.store);
  if (!isDirectory(place)) return well('disk', 'the store is not on a disk of this machine');
  if (!(await sharesFileSystem(home, place)))
    return well('disk', 'the store and the home are on different file systems');
  const hint = 'Put the store elsewhere, and tell: sgw configure --store DIR';
  return warning('disk', 'the store and the home are on one file system: losing that disk loses both', hint);
}

/** What caches and upload buffers may still grow by has to be free. */
async function checkSpace(home: string, record: GatewayState): Promise<Check> {
  const { fileBytes } = await cacheLimits(home, record);
  const volumes = record.attachments.flatMap((row) => row.scratchVolumeId ?? row.volumeId ?? []);
  let wantedBytes = Math.max(0, fileBytes - (await bytesIn(cacheFolder(home))));
  for (const volumeId of volumes) {
    const { bufferBytes } = await volumeSettings(home, record, volumeId);
    wantedBytes += Math.max(0, bufferBytes - (await bytesIn(logFolder(home, volumeId))));
  }
  const free = await freeBytes(home);
  if (free >= wantedBytes)
    return well('space', `${formatSize(free)} are free, and at most ${formatSize(wantedBytes)} will be used`);
  return warning(
    'space',
    `${formatSize(free)} are free, and cache and upload buffers may take ${formatSize(wantedBytes)}`,
    'Free some space, or: sgw configure --cache SIZE --buffer SIZE',
  );
}

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder).catch(() => [])) {
    const { blocks } = await stat(join(folder, name)).catch(() => ({ blocks: 0 }));
    bytes += blocks * 512;
  }
  return bytes;
}

/** Nobody logs in to an export whose secrets of CHAP are lost. */
async function chapChecks(home: string, { attachments }: GatewayState): Promise<Check[]> {
  const names = attachments.flatMap(({ exportName, iscsi }) =>
    (iscsi?.chapUser ?? null) === null ? [] : [exportName],
  );
  if (names.length === 0) return [];
  const { ChapBook } = await import('./serving/chap-file.ts');
  const book = new ChapBook(home);
  await book.read();
  const check = async (name: string): Promise<Check> => {
    book.of(name);
    return Promise.resolve(well(`chap ${name}`, 'the secrets of CHAP are there'));
  };
  return await Promise.all(names.map(async (name) => guarded(`chap ${name}`, async () => check(name))));
}

function checkClock(nowMs: number, { activatedAt }: GatewayState): Check {
  if (nowMs >= Date.parse(activatedAt)) return well('clock', 'the clock is past the activation');
  return failed(
    'clock',
    'invalid',
    `the clock is before the activation, ${activatedAt}`,
    'Set the clock of this machine.',
  );
}

const KIND_OF_STATE: Readonly<Record<string, ErrorKind>> = {
  fenced: 'fenced',
  damaged: 'corrupt',
  waiting: 'unavailable',
  degraded: 'unavailable',
};

function exportCheck({ exportName, state, reason, hint }: AttachmentDocument, { attachments }: GatewayState): Check {
  const name = `export ${exportName}`;
  const isGrouped = attachments.some((row) => row.exportName === exportName && row.grouped === true);
  if (isGrouped && state === 'waiting')
    return well(name, 'it is served here when its group decides so: sgw group show tells who serves it');
  return failed(name, KIND_OF_STATE[state] ?? 'unavailable', `it is ${state}: ${reason ?? ''}`, hint);
}

function listenerCheck(listener: WaitingListener): Check {
  const { kind, hint } = listener.failure;
  return failed(`listening at ${listener.place}`, kind, waitingText(listener), hint ?? null);
}

function scheduleCheck({ name: volume, state, nextRunAt, lastRun, failure }: ScheduleDocument): Check {
  const name = `schedule of ${volume}`;
  const last = lastRun === null ? 'it has not run yet' : `its last run was at ${lastRun.at}`;
  const next = `the next is due at ${nextRunAt}`;
  const show = `sgw schedule show ${volume}`;
  if (failure !== null)
    return failed(name, 'unavailable', `it fails since ${failure.at}: ${failure.message}; ${last}, ${next}`, show);
  if (state === 'stopped') return warning(name, `${last}, ${next}, and no gateway runs`, 'sgw gateway start');
  return well(name, `${last}, ${next}`);
}

function verificationCheck({ name: volume, verify }: ScheduleDocument): Check[] {
  if (verify === null) return [];
  const name = `verification of ${volume}`;
  const { last, failure } = verify;
  const show = `sgw schedule show ${volume}`;
  if (failure !== null)
    return [failed(name, 'unavailable', `it can not be tried since ${failure.at}: ${failure.message}`, show)];
  if (last === null) return [warning(name, 'no snapshot was verified yet', show)];
  if (!last.ok) return [failed(name, 'corrupt', `snapshot ${last.name} is not sound: ${last.message ?? ''}`, show)];
  return [well(name, `snapshot ${last.name} was verified at ${last.at}`)];
}

/** Write logs that nobody serves, and those of volumes that another gateway has taken over (C4, C6). */
async function logChecks(home: string, exports: readonly AttachmentDocument[]): Promise<Check[]> {
  const checks: Check[] = [];
  for (const volumeId of await readdir(join(home, 'volumes')).catch(() => [])) {
    const served = exports.find((row) => (row.scratchVolumeId ?? row.volumeId) === volumeId);
    for (const name of await logsOf(home, volumeId)) {
      const path = join(volumeFolder(home, volumeId), name);
      const check = await guarded(`log of ${volumeId}`, () => logCheck(volumeId, path, served));
      if (check !== undefined) checks.push(check);
    }
  }
  return checks.length > 0 ? checks : [well('logs', 'no write log waits for anybody')];
}

/** Undefined for a log that is in use. */
async function logCheck(
  volumeId: string,
  path: string,
  served: AttachmentDocument | undefined,
): Promise<Check | undefined> {
  const name = `log of ${volumeId}`;
  const recover = `sgw doctor --recover-log ${served?.name ?? volumeId} --into NAME`;
  if (basename(path) !== 'log')
    return failed(
      name,
      'conflict',
      `${path} was set aside: it holds ${await recordsIn(path)} that ${claimOf(path)} and are not in the store, which another gateway has written to since`,
      `What the volume is now is whole without it. To get a volume with it, soon, since the state that it continues is kept for a week at most: ${recover} --log ${basename(path)}. If nobody needs it: rm -r ${shellWord(path)}`,
    );
  if (served?.state === 'fenced')
    return failed(
      name,
      'fenced',
      `${path} holds ${await recordsIn(path)}, acknowledged here; those that are not in the store never get there, since another gateway has taken the volume over`,
      `To get a volume with all of them: ${recover}`,
    );
  if (served?.state === 'waiting')
    return warning(
      name,
      `${path} may hold writes that are not in the store, and its export waits`,
      `They go there when it is served again. Should another gateway keep the volume: ${recover}`,
    );
  if (served !== undefined) return undefined;
  return warning(
    name,
    `${path} may hold writes that are not in the store, and nobody serves the volume`,
    `Attach the volume, or make a snapshot of it, and they go there: sgw volume attach ${volumeId}`,
  );
}

/** What a group has set aside nobody was told of, unless the holder acknowledges by itself. */
const claimOf = (path: string): string =>
  basename(path).startsWith('log-diverged-')
    ? 'no other member of the group had (with --ack log they may have been acknowledged, else they were not)'
    : 'were acknowledged here';

async function recordsIn(path: string): Promise<string> {
  const { readLogContents } = await import('../volume/index.ts');
  const { directoryDisk } = await import('../writelog/index.ts');
  const { recordsMax, damage } = await readLogContents(directoryDisk(path));
  return `${damage === null ? '' : `(damaged: ${damage}) `}up to ${String(recordsMax)} records of writes`;
}
