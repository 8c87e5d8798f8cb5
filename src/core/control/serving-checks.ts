/** Checks of what callers hand in about serving: ack classes, sizes of buffers and caches, intervals, listeners. */
import type { Input, ServingWishes } from '../localapi/index.ts';
import { checkDiscoveryChap, checkPortals } from './iscsi-checks.ts';
import { checkName, checkPath } from './validation.ts';
import { formatSize, GIB, isTimeOfDay, MIB, quoted, SgwError, TIB } from '../kit/index.ts';

const TLS_MODES: readonly unknown[] = ['off', 'on', 'require'];
const SOCKET_PATH_BYTES_MAX = 107;
const ACK_CLASSES: readonly unknown[] = ['log', 'peer', 'store'];
const BUFFER_BYTES_MIN = 64 * MIB;
const BUFFER_BYTES_MAX = 16 * TIB;
const SEAL_INTERVAL_MS_MIN = 100;
const SEAL_INTERVAL_MS_MAX = 24 * 60 * 60_000;
const READ_AHEAD_BYTES_MAX = GIB;

/** A value as callers gave it, for a message. */
const echo = (value: unknown): string => quoted(typeof value === 'string' ? value : JSON.stringify(value));

/** @throws invalid `bad-ack` */
export function checkAck(ack: unknown): void {
  if (ack === undefined || ACK_CLASSES.includes(ack)) return;
  throw new SgwError('invalid', 'bad-ack', `${echo(ack)} is not an ack class`, {
    hint: 'Use log (in the write log), peer (also in those of its group) or store (committed to the object store).',
  });
}

/** @throws invalid `bad-setting` naming the setting and its limits */
function checkBytes(value: unknown, name: string, min: number, max: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max))
    return;
  throw badSetting(name, value, `Give a whole number of bytes, from ${formatSize(min)} to ${formatSize(max)}.`);
}

const badSetting = (name: string, value: unknown, hint: string): SgwError =>
  new SgwError('invalid', 'bad-setting', `${echo(value)} is not possible as ${name}`, {
    hint,
    details: { setting: name },
  });

/** @throws invalid `bad-setting`, `bad-listener`, `bad-portal`, `bad-chap-user`, `bad-chap-secret` */
export function checkServingWishes(wishes: ServingWishes): void {
  const { tls, listen = [] } = wishes;
  if (tls !== undefined && !TLS_MODES.includes(tls)) throw badSetting('TLS', tls, 'Use off, on or require.');
  for (const place of listen) checkListener(place);
  if (listen.filter((place) => place.startsWith('unix:')).length > 1)
    throw badListener(listen.join(', '), 'there is one unix socket');
  checkPortals(wishes);
  checkDiscoveryChap(wishes);
  checkBytes(wishes.cacheBytes ?? undefined, 'the cache', 0, BUFFER_BYTES_MAX);
  checkBytes(wishes.cacheRamBytes ?? undefined, 'the cache in memory', 0, TIB);
  checkVolumeSettings({
    bufferBytes: wishes.bufferBytes ?? undefined,
    sealIntervalMs: wishes.sealIntervalMs ?? undefined,
    readAheadBytes: wishes.readAheadBytes ?? undefined,
  });
  if (wishes.defaultExport !== undefined && wishes.defaultExport !== null) checkName(wishes.defaultExport, 'export');
  for (const name of ['tlsCertificate', 'tlsKey', 'tlsCa', 'tlsPsk'] as const) {
    const path = wishes[name];
    if (path !== undefined && path !== null) checkPath(path, `the file of ${name}`);
  }
}

/** @throws invalid `bad-listener`, `bad-path` */
export function checkMemberSettings({ peerListen, onTakeover }: Input<'configure'>): void {
  if (peerListen !== undefined && peerListen !== null) {
    const port = /^(?:\[[0-9A-Fa-f:.]+\]|[^:\s[\]]+):(\d{1,5})$/.exec(peerListen)?.[1];
    if (port === undefined || Number(port) > 65_535)
      throw new SgwError('invalid', 'bad-listener', `${echo(peerListen)} can not be listened at for members`, {
        hint: 'Give HOST:PORT, such as 192.0.2.10:7070; port 0: any that is free.',
      });
  }
  if (onTakeover === undefined || onTakeover === null) return;
  checkPath(onTakeover, 'a program');
  if (!onTakeover.startsWith('/'))
    throw new SgwError('invalid', 'bad-path', `${echo(onTakeover)} is no absolute path`, {
      hint: 'Give the whole path of the program.',
    });
}

/** @throws invalid `bad-rate`, `bad-bandwidth-rule` */
export function checkBandwidth({ schedule = [], ...limits }: Input<'bandwidth.set'>): void {
  checkLimits(limits);
  for (const rule of schedule) {
    checkLimits(rule);
    const { days, from, to } = rule;
    const areDays = Array.isArray(days) && days.length > 0 && days.every((day) => day >= 1 && day <= 7);
    if (areDays && days.every((day) => Number.isInteger(day)) && isTimeOfDay(from) && isTimeOfDay(to)) continue;
    throw new SgwError('invalid', 'bad-bandwidth-rule', `${echo(rule)} does not say days and hours`, {
      hint: 'Days are numbers from 1 (Monday) to 7, hours go from 00:00 to 24:00.',
    });
  }
}

function checkLimits(limits: Partial<Record<'uploadBytesPerSecond' | 'downloadBytesPerSecond', unknown>>): void {
  for (const rate of [limits.uploadBytesPerSecond, limits.downloadBytesPerSecond]) {
    if (rate === undefined || rate === null || (Number.isSafeInteger(rate) && (rate as number) > 0)) continue;
    throw new SgwError('invalid', 'bad-rate', `${echo(rate)} is no rate`, {
      hint: 'Give a whole number of bytes a second above 0, or null for no limit.',
    });
  }
}

function checkListener(place: unknown): void {
  if (place === 'default') return;
  const text = typeof place === 'string' ? place : '';
  if (/^unix:\/.+/.test(text) && Buffer.byteLength(text) <= SOCKET_PATH_BYTES_MAX + 5) return;
  const port = /^tcp:(?:\[[0-9A-Fa-f:.]+\]|[^:\s[\]]+):(\d{1,5})$/.exec(text)?.[1];
  if (port !== undefined && Number(port) <= 65_535) return;
  throw badListener(text, 'it is none');
}

const badListener = (place: string, why: string): SgwError =>
  new SgwError('invalid', 'bad-listener', `${quoted(place)} can not be listened at: ${why}`, {
    hint: 'Give tcp:HOST:PORT, such as tcp:127.0.0.1:10809, unix:PATH with an absolute path of at most 107 bytes, or default.',
  });

const RECOVERY_MS_MAX = 10 * 366 * 24 * 60 * 60_000;
/** A head holds all of them, and is written with each checkpoint. */
const RECOVERY_POINTS_MAX = 512;

/** @throws invalid `bad-setting` */
function checkRecovery(recovery: unknown): void {
  if (recovery === undefined) return;
  const { allForMs, allMax, tiers } = (recovery ?? {}) as Record<string, unknown>;
  const isTime = (value: unknown): value is number =>
    Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= RECOVERY_MS_MAX;
  const isTier = (tier: unknown): tier is { periodMs: number; forMs: number } => {
    const { periodMs, forMs } = (tier ?? {}) as Record<string, unknown>;
    return isTime(periodMs) && isTime(forMs) && periodMs >= 60_000;
  };
  if (isTime(allForMs) && isTime(allMax) && Array.isArray(tiers) && tiers.every(isTier)) {
    const isAscending = tiers.every(({ periodMs }, i) => periodMs > (tiers[i - 1]?.periodMs ?? 0));
    const points = tiers.reduce((sum, { periodMs, forMs }) => sum + Math.ceil(forMs / periodMs) + 1, allMax);
    if (isAscending && points <= RECOVERY_POINTS_MAX) return;
  }
  throw badSetting(
    'the recovery points',
    recovery,
    `Give the time for which all are kept, how many of these at most, and ascending periods; at most ${String(RECOVERY_POINTS_MAX)} points in all.`,
  );
}

/** @throws invalid `bad-ack`, `bad-setting` */
export function checkVolumeSettings(input: {
  readonly recovery?: unknown;
  readonly ack?: unknown;
  readonly bufferBytes?: unknown;
  readonly sealIntervalMs?: unknown;
  readonly readAheadBytes?: unknown;
}): void {
  checkAck(input.ack);
  checkRecovery(input.recovery);
  checkBytes(input.bufferBytes, 'the upload buffer', BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
  checkBytes(input.readAheadBytes, 'the read-ahead', 0, READ_AHEAD_BYTES_MAX);
  const { sealIntervalMs: ms } = input;
  const isInterval =
    Number.isSafeInteger(ms) && (ms as number) >= SEAL_INTERVAL_MS_MIN && (ms as number) <= SEAL_INTERVAL_MS_MAX;
  if (ms !== undefined && !isInterval)
    throw badSetting('the seal interval', ms, 'Give 100 milliseconds to 24 hours, in milliseconds.');
}
