/** How long the answers to failed logins wait. */
import { describe, expect, it } from 'vitest';
import { FailedLogins } from '../../../src/core/iscsi/failed-logins.ts';

describe('failed logins', () => {
  it('of one address wait for one another, those of others do not', () => {
    const failed = new FailedLogins(100, 10);
    expect([failed.delayMs('a', 1000), failed.delayMs('a', 1000), failed.delayMs('b', 1000)]).toEqual([100, 200, 100]);
    expect(failed.delayMs('a', 1150)).toBe(150);
    expect(failed.delayMs('a', 5000)).toBe(100);
  });

  it('are known of a bounded number of addresses: those are forgotten that failed longest ago', () => {
    const failed = new FailedLogins(1000, 3);
    for (const address of ['a', 'b', 'c', 'd']) failed.delayMs(address, 0);
    expect(failed.delayMs('a', 0)).toBe(1000);
    expect(failed.delayMs('d', 0)).toBe(2000);
    for (let i = 0; i < 100_000; i++) failed.delayMs(String(i), 0);
    expect(failed.size).toBe(3);
    failed.delayMs('late', 10_000);
    expect(failed.size).toBe(1);
  });
});
