/** Colours of one output stream; plain text when the stream or the user does not want them. */
import { styleText } from 'node:util';
import type { Output } from './runtime.ts';

/** Puts a colour around a text that is printable already. */
export type Paint = (text: string) => string;

export interface Style {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly cyan: Paint;
}

const COLORS = ['bold', 'dim', 'red', 'green', 'yellow', 'cyan'] as const;

/** The style for a stream: coloured only on a terminal, and only if `wanted`. */
export function styleFor(output: Output, wanted: boolean): Style {
  const isColored = wanted && output.isTTY === true;
  const paint = (color: (typeof COLORS)[number]): Paint =>
    isColored ? (text) => styleText(color, text, { validateStream: false }) : (text) => text;
  return Object.fromEntries(COLORS.map((color) => [color, paint(color)])) as Record<(typeof COLORS)[number], Paint>;
}
