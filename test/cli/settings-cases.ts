/** Words about the settings of a volume, and about whether all is well. */
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

const HOUR_MS = 3_600_000;

/** Words of `volume configure` about recovery points. */
const recoveryPolicyCases: Good[] = [
  {
    words: ['golden', '--recovery-points', 'all:6h,48h,14d'],
    schema: schemas.VolumeSettingsDocument,
    input: {
      ...{ volume: 'golden', reset: false },
      recovery: {
        allForMs: 6 * HOUR_MS,
        allMax: 256,
        tiers: [
          { periodMs: HOUR_MS, forMs: 48 * HOUR_MS },
          { periodMs: 24 * HOUR_MS, forMs: 14 * 24 * HOUR_MS },
        ],
      },
    },
    shows: 'all of 6 hours (at most 256), one an hour for 48 hours, one a day for 14 days',
  },
  {
    words: ['golden', '--recovery-points', 'none'],
    schema: schemas.VolumeSettingsDocument,
    input: { volume: 'golden', reset: false, recovery: { allForMs: 0, allMax: 0, tiers: [] } },
    shows: 'only the newest state',
  },
];

interface Makers {
  readonly bad: (why: string, words: readonly string[], code: string) => Bad;
  readonly unknownVolume: (...words: string[]) => Bad;
}

export const settingsCases = ({ bad, unknownVolume }: Makers): Record<string, { good: Good[]; bad: Bad[] }> => ({
  'volume configure': {
    good: [
      {
        words: ['golden', '--ack', 'store', '--buffer', '8GiB', '--seal-interval', '5s', '--read-ahead', '0'],
        schema: schemas.VolumeSettingsDocument,
        input: {
          volume: 'golden',
          reset: false,
          ack: 'store',
          bufferBytes: 8 * 2 ** 30,
          sealIntervalMs: 5000,
          readAheadBytes: 0,
        },
        shows: '8 GiB',
      },
      ...recoveryPolicyCases,
    ],
    bad: [
      bad('no volume', [], 'missing-argument'),
      bad('recovery points from long to short', ['golden', '--recovery-points', '7d,24h'], 'bad-setting'),
      bad('a size that is none', ['golden', '--buffer', 'big'], 'bad-size'),
      bad('a duration that is none', ['golden', '--seal-interval', 'soon'], 'bad-duration'),
      bad('an ack class that is none', ['golden', '--ack', 'disk'], 'bad-choice'),
      unknownVolume('nope'),
    ],
  },
  doctor: {
    good: [
      { words: [], schema: schemas.DoctorDocument, input: {}, shows: 'Nothing is wrong.' },
      {
        words: ['--recover-log', 'golden', '--into', 'saved', '--log', 'log-overtaken-1'],
        schema: schemas.LogRecoveryDocument,
        input: { volume: 'golden', into: 'saved', log: 'log-overtaken-1' },
        shows: '7 records',
      },
    ],
    bad: [
      bad('a surplus argument', ['x'], 'unexpected-argument'),
      bad('a log to recover, and no name', ['--recover-log', 'golden'], 'flag-alone'),
      bad('a name, and no log to recover', ['--into', 'saved'], 'flag-alone'),
    ],
  },
});
