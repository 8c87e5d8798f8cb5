/** Words about snapshot schedules. */
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

const HOUR_MS = 3_600_000;

interface Makers {
  readonly bad: (why: string, words: readonly string[], code: string) => Bad;
  readonly notActivated: (...words: string[]) => Bad;
  readonly unknownVolume: (...words: string[]) => Bad;
}

export const scheduleCases = ({
  bad,
  notActivated,
  unknownVolume,
}: Makers): Record<string, { good: Good[]; bad: Bad[] }> => ({
  'schedule set': {
    good: [
      {
        words: ['golden', '--every', '4h', '--keep', '7d,4w,12m'],
        schema: schemas.ScheduleDocument,
        input: {
          volume: 'golden',
          everyMs: 4 * HOUR_MS,
          keep: [
            { count: 7, unit: 'day' },
            { count: 4, unit: 'week' },
            { count: 12, unit: 'month' },
          ],
        },
        shows: '7 days, 4 weeks, 12 months',
      },
      {
        words: ['golden', '--every', '2w', '--at', '2:30', '--keep', '48h,1y'],
        schema: schemas.ScheduleDocument,
        input: {
          ...{ volume: 'golden', everyMs: 2 * 7 * 24 * HOUR_MS, at: '2:30' },
          keep: [
            { count: 48, unit: 'hour' },
            { count: 1, unit: 'year' },
          ],
        },
        shows: 'every 2 weeks',
      },
      {
        words: [
          ...['other', '--verify', 'weekly', '--verify-sample', '2.5%'],
          ...['--verify-command', 'e2fsck -fn "$SGW_IMAGE"', '--verify-timeout', '10m'],
        ],
        schema: schemas.ScheduleDocument,
        input: {
          volume: 'other',
          verify: {
            ...{ everyMs: 7 * 24 * HOUR_MS, share: 0.025, command: 'e2fsck -fn "$SGW_IMAGE"', timeoutMs: 600_000 },
          },
        },
        shows: 'every week, 2.5% is read',
      },
      {
        words: ['other', '--verify', 'daily', '--verify-all', '--verify-command', 'none'],
        schema: schemas.ScheduleDocument,
        input: { volume: 'other', verify: { everyMs: 24 * HOUR_MS, share: 1, command: null } },
        shows: 'every day, all is read',
      },
      {
        words: ['other', '--verify', 'none'],
        schema: schemas.ScheduleDocument,
        input: { volume: 'other', verify: null },
        shows: 'every hour',
      },
      {
        words: ['other', '--keep', 'all', '--at', 'none'],
        schema: schemas.ScheduleDocument,
        input: { volume: 'other', keep: null, at: null },
        shows: 'all',
      },
    ],
    bad: [
      bad('no volume', ['--every', '4h'], 'missing-argument'),
      bad('nothing to set', ['golden'], 'none-of'),
      bad('no pace for the first time', ['golden', '--keep', '7d'], 'schedule-incomplete'),
      bad('a pace without a unit', ['golden', '--every', '4'], 'bad-schedule'),
      bad('a pace of nothing', ['golden', '--every', '0h'], 'bad-schedule'),
      bad('a pace of more than a year', ['golden', '--every', '400d'], 'bad-schedule'),
      bad('a pace in seconds', ['golden', '--every', '90s'], 'bad-schedule'),
      bad('an unknown unit', ['golden', '--every', '1d', '--keep', '7x'], 'bad-schedule'),
      bad('a unit twice', ['golden', '--every', '1d', '--keep', '7d,8d'], 'bad-schedule'),
      bad('nothing kept', ['golden', '--every', '1d', '--keep', '0d'], 'bad-schedule'),
      bad('no time of the day', ['golden', '--every', '1d', '--at', '25:00'], 'bad-schedule'),
      bad('no sample', ['other', '--verify-sample', '0%'], 'bad-schedule'),
      bad('more than all', ['other', '--verify-sample', '101%'], 'bad-schedule'),
      bad('no pace of verifying', ['other', '--verify', 'often'], 'bad-schedule'),
      unknownVolume('nope', '--every', '4h'),
      notActivated('golden', '--every', '4h'),
    ],
  },
  'schedule show': {
    good: [
      { words: [], schema: schemas.ScheduleList, input: {}, shows: 'other' },
      {
        words: ['other'],
        schema: schemas.ScheduleList,
        input: { volume: 'other' },
        shows: 'the store is out of reach',
      },
    ],
    bad: [
      bad('a surplus argument', ['other', 'x'], 'unexpected-argument'),
      unknownVolume('nope'),
      { ...bad('a volume without one', ['golden'], 'schedule-not-found'), exitCode: 3 },
      notActivated(),
    ],
  },
  'schedule remove': {
    good: [
      {
        words: ['other'],
        schema: schemas.ScheduleRemoved,
        input: { volume: 'other', ifExists: false },
        shows: 'removed',
      },
      {
        words: ['golden', '--if-exists'],
        schema: schemas.ScheduleRemoved,
        input: { volume: 'golden', ifExists: true },
        shows: 'no schedule',
      },
    ],
    bad: [
      bad('no volume', [], 'missing-argument'),
      { ...bad('a volume without one', ['golden'], 'schedule-not-found'), exitCode: 3 },
      unknownVolume('nope'),
      notActivated('other'),
    ],
  },
});
