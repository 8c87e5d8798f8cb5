import { SgwError } from './errors.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const TIB = 1024 * GIB;

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: KIB,
  kib: KIB,
  m: MIB,
  mib: MIB,
  g: GIB,
  gib: GIB,
  t: TIB,
  tib: TIB,
  p: 1024 * TIB,
  pib: 1024 * TIB,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  pb: 1e15,
};

/** A message echoes this many characters at most of what was given. */
const ECHO_LENGTH_MAX = 60;

/**
 * Reads a size: a number and a unit. `10GiB`, `10G` and `10g` are 10 x 2^30; `10GB` is 10 x 10^9; no unit is bytes.
 * @throws invalid `bad-size` naming `what` and the text.
 */
export function parseSize(text: string, what = 'size'): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = match === null ? undefined : UNITS[(match[2] ?? '').toLowerCase()];
  const bytes = match === null || unit === undefined ? Number.NaN : Math.round(Number(match[1]) * unit);
  if (bytes > Number.MAX_SAFE_INTEGER) {
    throw new SgwError('invalid', 'bad-size', `${what} "${text.trim().slice(0, ECHO_LENGTH_MAX)}" is too large`, {
      hint: 'Give a smaller size.',
      details: { value: text },
    });
  }
  if (!Number.isSafeInteger(bytes)) {
    throw new SgwError(
      'invalid',
      'bad-size',
      `${what} ${JSON.stringify(text.slice(0, ECHO_LENGTH_MAX))} is not a size`,
      {
        hint: 'Give a number and a unit, such as 10GiB (2^30) or 10GB (10^9).',
        details: { value: text },
      },
    );
  }
  return bytes;
}

const STEPS: readonly (readonly [number, string])[] = [
  [1024 * TIB, 'PiB'],
  [TIB, 'TiB'],
  [GIB, 'GiB'],
  [MIB, 'MiB'],
  [KIB, 'KiB'],
];

const DECIMAL_STEPS: readonly (readonly [number, string])[] = [
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
];

/** Bytes a second for people: in decimal units where that is a whole number, `20 MB/s`, and else in binary ones. */
export function formatRate(bytesPerSecond: number): string {
  const step = DECIMAL_STEPS.find(([unit]) => bytesPerSecond >= unit && bytesPerSecond % unit === 0);
  return step === undefined ? `${formatSize(bytesPerSecond)}/s` : `${String(bytesPerSecond / step[0])} ${step[1]}/s`;
}

/** A size for people, in binary units with at most one decimal: `4 GiB`, `1.5 MiB`, `17 B`. */
export function formatSize(bytes: number): string {
  for (const [step, name] of STEPS) {
    if (bytes < step) continue;
    const value = bytes / step;
    return `${Number.isInteger(value) || value >= 100 ? String(Math.round(value)) : value.toFixed(1)} ${name}`;
  }
  return `${String(bytes)} B`;
}
