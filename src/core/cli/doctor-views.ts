/** How what `doctor` found looks to people. */
import { ERROR_KINDS, printable, type ErrorKind } from '../kit/index.ts';
import type { DoctorDocument } from '../localapi/index.ts';
import type { Style } from './style.ts';

/** A line for each check, and below it what to do. */
export function doctorText({ ok, checks }: DoctorDocument, style: Style): string {
  const words = { ok: style.green('ok     '), warning: style.yellow('warning'), failed: style.red('FAILED ') };
  const lines = checks.flatMap(({ name, state, message, hint }) => [
    `${words[state]}  ${printable(name)}: ${printable(message)}`,
    ...(hint === null || state === 'ok' ? [] : [`         ${style.dim(printable(hint))}`]),
  ]);
  return [...lines, '', ok ? style.green('Nothing is wrong.') : style.red('Something needs attention.')].join('\n');
}

/** What the command ends as: undefined when all is well. */
export function worstKind({ checks }: DoctorDocument): ErrorKind | undefined {
  const kind = checks.find(({ state }) => state === 'failed')?.kind;
  return (Object.keys(ERROR_KINDS) as ErrorKind[]).find((known) => known === kind);
}
