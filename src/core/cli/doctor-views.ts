/** How what `doctor` found looks to people. */
import { ERROR_KINDS, formatSize, printable, quoted, SgwError, shellWord, type ErrorKind } from '../kit/index.ts';
import type { DoctorDocument, LogRecoveryDocument } from '../localapi/index.ts';
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

/**
 * What `doctor --recover-log` asks for; undefined without it.
 * @throws invalid `flag-alone` when one of the flags that belong together is not there
 */
export function requireRecovery(
  volume: string | undefined,
  into: string | undefined,
  log: string | undefined,
): { readonly volume: string; readonly into: string } | undefined {
  if (volume !== undefined && into !== undefined) return { volume, into };
  if (volume === undefined && into === undefined && log === undefined) return undefined;
  const missing = volume === undefined ? '--recover-log VOLUME' : '--into NAME';
  throw new SgwError('invalid', 'flag-alone', `${missing} is missing`, {
    hint: 'sgw doctor --recover-log VOLUME --into NAME',
  });
}

/** What was recovered, and how the log goes. */
export function logRecoveryText(recovered: LogRecoveryDocument, style: Style): string {
  const { name, sizeBytes, fromName, records, baseAt, log, damage, checkedBytes } = recovered;
  return [
    style.green(
      `Volume ${quoted(name)} (${formatSize(sizeBytes)}) is volume ${quoted(fromName)} of ${baseAt}, with the ${String(records)} records behind it that this gateway acknowledged.`,
    ),
    `All of it is in the store; ${formatSize(checkedBytes)} were read back.`,
    ...(damage === null
      ? []
      : [style.red(`The write log is damaged: ${printable(damage)}. What is before that was recovered.`)]),
    `The write log is kept. When nobody needs it any more: rm -r ${printable(shellWord(log))}`,
  ].join('\n');
}
