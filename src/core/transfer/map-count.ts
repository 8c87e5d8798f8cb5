import { SgwError } from '../kit/index.ts';

/** A map does not hold as many pages as it says. */
export function countMismatch(found: number, expected: number): SgwError {
  return new SgwError(
    'corrupt',
    'map-count',
    `the map counts ${String(expected)} pages, but ${String(found)} were found`,
    {
      hint: 'Run the command again; if it stays so, the map is damaged: use another snapshot.',
      details: { found, expected },
    },
  );
}
