/** When a schedule owes a run, whatever the clock does. */
import { describe, expect, it } from 'vitest';
import { mendedSlot, nextSlot, owedSlot, slotAt, type Pace } from '../../../../src/core/gateway/schedules/slots.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const every = (everyMs: number, atMinute: number | null = null): Pace => ({ everyMs, atMinute });
const at = (text: string): number => Date.parse(`2026-11-${text}Z`);
const text = (atMs: number | undefined): string | undefined =>
  atMs === undefined ? undefined : new Date(atMs).toISOString().slice(8, 16);

describe('slots', () => {
  it('fall on the hours of the day, UTC, whenever the schedule was set', () => {
    expect(text(slotAt(every(4 * HOUR), at('29T11:59')))).toBe('29T08:00');
    expect(text(slotAt(every(4 * HOUR), at('29T12:00')))).toBe('29T12:00');
    expect(text(slotAt(every(15 * MINUTE), at('29T12:14:59.999')))).toBe('29T12:00');
  });

  it('of whole days are at midnight, or at a time of the day; those of weeks on Monday', () => {
    expect(text(slotAt(every(DAY), at('29T11:59')))).toBe('29T00:00');
    expect(text(slotAt(every(DAY, 150), at('29T02:29')))).toBe('28T02:30');
    expect(text(slotAt(every(DAY, 150), at('29T02:30')))).toBe('29T02:30');
    expect(text(slotAt(every(7 * DAY), at('29T23:59')))).toBe('23T00:00');
    expect(text(slotAt(every(7 * DAY), at('30T00:00')))).toBe('30T00:00');
  });
});

describe('what is owed', () => {
  const pace = every(4 * HOUR);
  it('is nothing before the next slot', () => {
    expect(owedSlot(pace, at('29T08:00'), at('29T11:59'))).toBeUndefined();
    expect(text(nextSlot(pace, at('29T08:00'), at('29T11:59')))).toBe('29T12:00');
  });

  it('is one run for the newest slot, however many were missed', () => {
    expect(text(owedSlot(pace, at('01T08:00'), at('29T13:00')))).toBe('29T12:00');
    expect(text(nextSlot(pace, at('01T08:00'), at('29T13:00')))).toBe('29T12:00');
    expect(owedSlot(pace, at('29T12:00'), at('29T13:00'))).toBeUndefined();
  });

  it('is nothing again when the clock is set back a little over a slot that was run', () => {
    for (const now of ['29T11:59', '29T08:00:01', '29T12:00', '29T15:59'])
      expect(owedSlot(pace, at('29T12:00'), at(now))).toBeUndefined();
    expect(text(nextSlot(pace, at('29T12:00'), at('29T11:59')))).toBe('29T16:00');
    expect(text(mendedSlot(pace, at('29T12:00'), at('29T08:00:01')))).toBe('29T12:00');
  });

  it('comes at the next slot after a clock that ran ahead by years is set right: no flood, no standing still', () => {
    const done = Date.UTC(2036, 0, 1);
    const mended = mendedSlot(pace, done, at('29T11:00'));
    expect(text(mended)).toBe('29T08:00');
    expect(owedSlot(pace, mended, at('29T11:00'))).toBeUndefined();
    expect(text(owedSlot(pace, mended, at('29T12:00')))).toBe('29T12:00');
    expect(text(nextSlot(pace, done, at('29T11:00')))).toBe('29T12:00');
  });
});
