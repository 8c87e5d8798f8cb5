/** Snapshot schedules, as the gateway in memory has them. */
import type { SgwError as SgwErrorClass } from '../../src/core/kit/index.ts';
import type { Handlers, ScheduleDocument } from '../../src/core/localapi/index.ts';

const VERIFY = {
  ...{ everyMs: 1, share: 0.05, command: null, timeoutMs: 3_600_000 },
  ...{ state: 'stopped' as const, nextRunAt: '2026-11-23T00:00:00.000Z', last: null, failure: null },
};
const TIME = '2026-11-22T23:45:00.000Z';

interface Around {
  readonly SgwError: typeof SgwErrorClass;
  readonly requireActivated: () => void;
  readonly volumeOf: (ref: string) => { readonly volumeId: string; readonly name: string };
}

/** Volume `other` has a schedule that failed once. */
export function scheduleHandlers({
  SgwError,
  requireActivated,
  volumeOf,
}: Around): Pick<Handlers, 'schedule.set' | 'schedule.show' | 'schedule.remove'> {
  const changed = new Map<string, ScheduleDocument | null>();
  const other = (): ScheduleDocument => ({
    ...{ volumeId: volumeOf('other').volumeId, name: 'other', everyMs: 3_600_000, at: null, state: 'retrying' },
    keep: [{ count: 7, unit: 'day' }],
    ...{ setAt: TIME, nextRunAt: TIME, retryAt: TIME, runs: 3 },
    lastRun: { snapshotId: 'snap-000000000000000aa', name: 'other-20261122T230000Z', at: TIME },
    failure: { at: TIME, code: 'unavailable', message: 'the store is out of reach' },
    verify: null,
    remarks: [],
  });
  const all = (): ScheduleDocument[] => {
    const known = new Map<string, ScheduleDocument | null>([['other', other()], ...changed]);
    return [...known.values()].filter((one) => one !== null);
  };
  const scheduleOf = (ref: string): ScheduleDocument => {
    const { name } = volumeOf(ref);
    const found = all().find((one) => one.name === name);
    if (found === undefined)
      throw new SgwError('notFound', 'schedule-not-found', `volume "${ref}" has no schedule`, { hint: 'Make one.' });
    return found;
  };
  return {
    'schedule.set': async ({ volume, verify, ...input }) => {
      requireActivated();
      const { volumeId, name } = volumeOf(volume);
      const now = all().find((one) => one.name === name);
      const everyMs = input.everyMs ?? now?.everyMs;
      if (everyMs === undefined)
        throw new SgwError('invalid', 'schedule-incomplete', `volume "${name}" has no schedule yet`, {
          hint: '--every',
        });
      const document: ScheduleDocument = {
        ...{ at: null, keep: null, setAt: TIME, nextRunAt: TIME, retryAt: null, runs: 0, lastRun: null, failure: null },
        verify: null,
        ...now,
        ...(verify === undefined ? {} : { verify: verify && { ...VERIFY, ...verify } }),
        ...input,
        ...{ volumeId, name, everyMs, state: 'stopped' },
        remarks: ['Nothing runs without the gateway daemon: sgw gateway start'],
      };
      changed.set(name, document);
      return Promise.resolve(document);
    },
    'schedule.show': async ({ volume }) => {
      requireActivated();
      return Promise.resolve({ schedules: volume === undefined ? all() : [scheduleOf(volume)] });
    },
    'schedule.remove': async ({ volume, ifExists }) => {
      requireActivated();
      if (ifExists === true && !all().some(({ name }) => name === volume))
        return { volumeId: null, name: null, removed: false };
      const { volumeId, name } = scheduleOf(volume);
      changed.set(name, null);
      return Promise.resolve({ volumeId, name, removed: true });
    },
  };
}
