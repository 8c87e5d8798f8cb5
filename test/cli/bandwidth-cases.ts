/** Words about limits of the traffic. */
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

export const bandwidthCases = (
  bad: (why: string, words: readonly string[], code: string) => Bad,
  notActivated: (...words: string[]) => Bad,
): Record<string, { good: Good[]; bad: Bad[] }> => ({
  'bandwidth set': {
    good: [
      {
        words: ['--upload', '20MB/s', '--schedule', 'Mon-Fri 08:00-18:00 up 5MB/s down none'],
        schema: schemas.BandwidthDocument,
        input: {
          uploadBytesPerSecond: 20_000_000,
          schedule: [
            {
              days: [1, 2, 3, 4, 5],
              from: '08:00',
              to: '18:00',
              uploadBytesPerSecond: 5_000_000,
              downloadBytesPerSecond: null,
            },
          ],
        },
        shows: 'Mon-Fri 08:00-18:00',
      },
      {
        words: ['--download', 'none', '--schedule', 'Sat,Sun 22:00-06:00 1GiB'],
        schema: schemas.BandwidthDocument,
        input: {
          downloadBytesPerSecond: null,
          schedule: [
            {
              days: [6, 7],
              from: '22:00',
              to: '06:00',
              uploadBytesPerSecond: 2 ** 30,
              downloadBytesPerSecond: 2 ** 30,
            },
          ],
        },
        shows: 'Sat,Sun 22:00-06:00: up 1 GiB/s',
      },
    ],
    bad: [
      bad('nothing to set', [], 'none-of'),
      bad('no rate', ['--upload', 'fast'], 'bad-size'),
      bad('a rate of 0', ['--upload', '0'], 'bad-rate'),
      bad('an unknown day', ['--schedule', 'Mon-Foo 08:00-18:00 5MB'], 'bad-bandwidth-rule'),
      bad('no hours', ['--schedule', 'Mon 5MB'], 'bad-bandwidth-rule'),
      bad('no time of the day', ['--schedule', 'Mon 25:00-26:00 5MB'], 'bad-bandwidth-rule'),
      notActivated('--upload', '1MB'),
    ],
  },
  'bandwidth show': {
    good: [{ words: [], schema: schemas.BandwidthDocument, input: {}, shows: 'no limit' }],
    bad: [bad('a surplus argument', ['x'], 'unexpected-argument'), notActivated()],
  },
  'bandwidth remove': {
    good: [{ words: [], schema: schemas.BandwidthDocument, input: {}, shows: 'no limit' }],
    bad: [bad('a surplus argument', ['x'], 'unexpected-argument'), notActivated()],
  },
});
