/** Rows of evidence under docs/evidence: what was run, on which commit and machine, and what came of it. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ROOT, run } from './root.ts';

/**
 * Appends a row to the table at the end of `docs/evidence/FILE`, which has the columns of `row` between `date`, `commit`
 * and `node`, `cores`. A tree with changes that no commit has is marked with `+`.
 * @throws Error when the file is not there, or its table has other columns
 */
export function recordRow(file: string, row: Readonly<Record<string, string | number>>): void {
  const target = path.join(ROOT, 'docs', 'evidence', file);
  const all = {
    date: new Date().toISOString().slice(0, 10),
    commit: commitNow(),
    ...row,
    node: process.versions.node,
    cores: os.availableParallelism(),
  };
  const header = `| ${Object.keys(all).join(' | ')} |`;
  const columns = (line: string): string => line.replaceAll(/\s+/g, ' ');
  const text = existsSync(target) ? readFileSync(target, 'utf8') : '';
  if (!text.split('\n').some((line) => columns(line) === header)) throw new Error(`${target} has no table ${header}`);
  appendFileSync(target, `| ${Object.values(all).join(' | ')} |\n`);
  run('prettier', ['--write', target], 'pipe');
}

function commitNow(): string {
  const commit = run('git', ['rev-parse', '--short', 'HEAD'], 'pipe').output.trim();
  const isClean =
    run('git', ['status', '--porcelain', '--untracked-files=no', '--', 'src', 'bin'], 'pipe').output === '';
  return isClean ? commit : `${commit}+`;
}
