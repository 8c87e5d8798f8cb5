/** Words about what a store holds and costs. */
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

export const costCases = (
  bad: (why: string, words: readonly string[], code: string, exitCode?: number) => Bad,
  notActivated: (...words: string[]) => Bad,
): Record<string, { good: Good[]; bad: Bad[] }> => ({
  'store stats': {
    good: [
      { words: [], schema: schemas.StoreStatsDocument, input: {}, shows: 'everything else' },
      {
        words: ['--prices', 'r2'],
        schema: schemas.StoreStatsDocument,
        input: { prices: 'r2' },
        shows: '2.00 USD a month',
      },
      {
        words: ['golden'],
        schema: schemas.StoreStatsDocument,
        input: { volume: 'golden' },
        shows: '15 min',
      },
    ],
    bad: [
      bad('a volume that is not there', ['nothing'], 'volume-not-found', 3),
      bad('a surplus argument', ['golden', 'x'], 'unexpected-argument'),
      bad('an unknown price table', ['--prices', 'cheap'], 'bad-choice'),
      notActivated(),
    ],
  },
});
