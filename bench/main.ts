/**
 * Runs benchmarks against peers: `npm run bench -- [nbd iscsi shadow p6 p7 p8 p9 p10 p11 p12 restore s3 s3-peers ebs sealed groups] [--rounds N] [--write]`.
 *
 * Each prints a table, and leaves its samples as JSON under `.bench/`. `--write` puts the tables into
 * docs/BENCHMARKS.md, between the marks of the same name. A benchmark never passes or fails.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { benchEbs } from './ebs.ts';
import { benchExport } from './export.ts';
import { benchGroups } from './groups.ts';
import { benchImport } from './import.ts';
import { benchFirstByte } from './first-byte.ts';
import { benchIscsi } from './iscsi.ts';
import { describeMachine } from './machine.ts';
import { benchNbd, benchShadow } from './nbd.ts';
import { call } from './programs.ts';
import { toMarkdown, type Finding, type ReadyFinding } from './report.ts';
import { benchPuts } from './puts.ts';
import { benchRestore } from './restore.ts';
import { benchS3 } from './s3.ts';
import { benchS3Peers } from './s3-peers.ts';
import { benchSealed } from './sealed.ts';
import type { Settings } from './settings.ts';
import { benchSnapshot } from './snapshot.ts';
import { benchOpen, benchStart } from './start.ts';

const BENCHMARKS: Readonly<
  Record<string, (settings: Settings) => Promise<ReadyFinding<unknown>> | Finding | ReadyFinding<unknown>>
> = {
  nbd: benchNbd,
  iscsi: benchIscsi,
  shadow: benchShadow,
  p6: benchImport,
  p7: benchSnapshot,
  p8: benchFirstByte,
  p9: benchExport,
  p10: benchPuts,
  p11: benchOpen,
  p12: benchStart,
  restore: benchRestore,
  s3: benchS3,
  's3-peers': benchS3Peers,
  ebs: benchEbs,
  sealed: benchSealed,
  groups: benchGroups,
};

const ROOT = path.dirname(import.meta.dirname);
const DOCUMENT = path.join(ROOT, 'docs', 'BENCHMARKS.md');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    folder: { type: 'string', default: path.join(ROOT, '.bench') },
    'peers-only': { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS);
const settings: Settings = {
  folder: path.resolve(values.folder),
  rounds: Number(values.rounds),
  withSubject: !values['peers-only'],
};
mkdirSync(settings.folder, { recursive: true });
const machine = describeMachine(settings.folder);
process.stdout.write(`${machine}\n`);
for (const name of names) {
  const benchmark = BENCHMARKS[name];
  if (benchmark === undefined)
    throw new Error(`no benchmark ${name}; there are: ${Object.keys(BENCHMARKS).join(', ')}`);
  process.stderr.write(`${name}\n`);
  const finding = await benchmark(settings);
  const markdown = 'markdown' in finding ? finding.markdown : toMarkdown(finding);
  process.stdout.write(`${markdown}\n`);
  writeFileSync(path.join(settings.folder, `${name}.json`), `${JSON.stringify(finding, null, 2)}\n`);
  if (values.write) writeSection(finding.id, `${markdown}\n${machine}`);
}

/** Replaces, and formats like the rest, what stands between `<!-- begin P6 -->` and `<!-- end P6 -->`. */
function writeSection(id: string, markdown: string): void {
  const begin = `<!-- begin ${id} -->`;
  const end = `<!-- end ${id} -->`;
  const text = readFileSync(DOCUMENT, 'utf8');
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`docs/BENCHMARKS.md has no section ${id}`);
  writeFileSync(DOCUMENT, `${text.slice(0, from + begin.length)}\n\n${markdown.trimEnd()}\n\n${text.slice(to)}`);
  call({ argv: ['prettier', '--write', DOCUMENT] });
}
