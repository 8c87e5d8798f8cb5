/**
 * Who holds a lock, and whether that process still lives: judged by process id, start time and boot id, never by age.
 *
 * A process id alone is reused; with the start time (clock ticks since boot) it names one process of one boot. Inside
 * another process-id namespace (a container) ids say nothing about this one, so such an owner counts as alive.
 */
import { readFileSync, readlinkSync } from 'node:fs';

export interface LockOwner {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat; null on machines without /proc. */
  readonly startTicks: string | null;
  readonly bootId: string | null;
  readonly pidNamespace: string | null;
  /** Tells this lock from every other one ever taken. */
  readonly token: string;
  /** What the holder does, for people. */
  readonly purpose: string;
  /** RFC 3339, UTC. */
  readonly since: string;
}

function orNull(read: () => string): string | null {
  try {
    return read();
  } catch {
    return null;
  }
}

interface ProcessState {
  readonly startTicks: string;
  /** Killed, but its parent has not looked yet: it runs no more. */
  readonly isZombie: boolean;
}

function processState(pid: number): ProcessState | null {
  const stat = orNull(() => readFileSync(`/proc/${String(pid)}/stat`, 'latin1'));
  if (stat === null) return null;
  // The second field is the command in parentheses, and may hold anything; the third follows the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { startTicks: fields[19] ?? '', isZombie: fields[0] === 'Z' || fields[0] === 'X' };
}

let here: { bootId: string | null; pidNamespace: string | null; startTicks: string | null } | undefined;

function thisProcess(): NonNullable<typeof here> {
  here ??= {
    bootId: orNull(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()),
    pidNamespace: orNull(() => readlinkSync('/proc/self/ns/pid')),
    startTicks: processState(process.pid)?.startTicks ?? null,
  };
  return here;
}

export function newOwner(token: string, purpose: string, nowMs: number): LockOwner {
  return {
    pid: process.pid,
    ...thisProcess(),
    token,
    purpose: purpose.slice(0, 200),
    since: new Date(nowMs).toISOString(),
  };
}

/** True only when `owner` certainly runs no more. */
export function isDead(owner: LockOwner): boolean {
  const { bootId, pidNamespace } = thisProcess();
  if (owner.bootId !== null && bootId !== null && owner.bootId !== bootId) return true;
  if (owner.pidNamespace !== null && pidNamespace !== null && owner.pidNamespace !== pidNamespace) return false;
  const state = processState(owner.pid);
  if (state === null) return !answers(owner.pid);
  if (state.isZombie) return true;
  return owner.startTicks !== null && owner.startTicks !== state.startTicks;
}

function answers(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Reads what `JSON.stringify` of an owner wrote; undefined for anything else. */
export function parseOwner(text: string): LockOwner | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const row = value as Record<string, unknown>;
  const isTextOrNull = (field: unknown): boolean => field === null || typeof field === 'string';
  const isOwner =
    Number.isSafeInteger(row['pid']) &&
    (row['pid'] as number) > 0 &&
    [row['startTicks'], row['bootId'], row['pidNamespace']].every(isTextOrNull) &&
    typeof row['token'] === 'string' &&
    /^[0-9a-f]{16}$/.test(row['token']) &&
    typeof row['purpose'] === 'string' &&
    typeof row['since'] === 'string';
  return isOwner ? (value as LockOwner) : undefined;
}
