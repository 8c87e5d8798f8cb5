/**
 * The clock that leases are judged by (C27): it never goes back, and runs also while the machine is suspended. On Linux that is
 * CLOCK_BOOTTIME, through koffi; elsewhere, or without koffi, the monotonic clock, on which a suspended machine loses no time: docs/GROUPS.md.
 */
import type { LeaseClock } from './contract.ts';

/** Of `clock_gettime`, on Linux. */
const CLOCK_BOOTTIME = 7;

/** Costs less than a microsecond a call. Never rejects. */
export async function systemLeaseClock(): Promise<{ readonly now: LeaseClock; readonly countsSuspend: boolean }> {
  const bootTime = process.platform === 'linux' ? await loadBootTime() : undefined;
  return bootTime === undefined
    ? { now: () => performance.now(), countsSuspend: false }
    : { now: bootTime, countsSuspend: true };
}

async function loadBootTime(): Promise<LeaseClock | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    const gettime = koffi.load(null).func('int clock_gettime(int id, _Out_ uint8_t *time)');
    const time = Buffer.alloc(16);
    const now = (): number => {
      gettime(CLOCK_BOOTTIME, time);
      return Number(time.readBigInt64LE(0)) * 1000 + Number(time.readBigInt64LE(8)) / 1_000_000;
    };
    return now() > 0 ? now : undefined;
  } catch {
    return undefined;
  }
}
