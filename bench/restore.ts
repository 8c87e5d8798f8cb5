/** A local image of a snapshot of 4 GiB: how long until it is whole, against archivers; and what guests wait meanwhile. */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { baseImage } from './image.ts';
import { ARCHIVERS } from './peers.ts';
import { call, callScript, time } from './programs.ts';
import { toMarkdown, type Finding } from './report.ts';
import { interleave, type Contender } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';
import { Subject } from './subject.ts';

const RUN = path.join(import.meta.dirname, 'restore-run.ts');

interface Life {
  readonly seconds: number;
  readonly reads: number;
  readonly meanMs: number;
  readonly p99Ms: number;
  readonly demandReads: number;
  readonly demandMeanMs: number;
}

export interface RestoreFinding extends Finding {
  readonly lives: readonly Life[];
  readonly markdown: string;
}

export function benchRestore(settings: Settings): RestoreFinding {
  using work = workFolder(settings, 'restore');
  const image = baseImage(settings.folder);
  const contenders: Contender[] = [];
  const skipped: string[] = [];
  const lives: Life[] = [];
  if (settings.withSubject) {
    const subject = new Subject(path.join(work.path, 'sgw'));
    call(subject.does('volume', 'import', image.path, '--name', 'base'));
    call(subject.does('snapshot', 'create', 'base', '--name', 'v1'));
    const output = path.join(work.path, 'sgw.img');
    contenders.push({
      name: 'sgw',
      prepare: () => {
        rmSync(output, { force: true });
      },
      run: () => time(output, subject.does('snapshot', 'restore', 'v1', '--image', output)),
    });
    for (let round = 0; round < settings.rounds; round += 1) {
      rmSync(output, { force: true });
      call(subject.does('gateway', 'start'));
      lives.push(callScript(RUN, subject.home, 'v1', output) as Life);
      call(subject.does('gateway', 'stop'));
    }
  }
  for (const archiver of ARCHIVERS) {
    if (archiver.version === undefined) {
      skipped.push(`${archiver.name} is not installed`);
      continue;
    }
    const repository = path.join(work.path, archiver.name.replace(' ', '-'));
    const folder = `${repository}-out`;
    call(archiver.init(repository));
    call(archiver.store(repository, image.path, 'v1'));
    contenders.push({
      name: archiver.name,
      prepare: () => {
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder);
      },
      run: () => time(folder, archiver.restore(repository, image.path, 'v1', folder)),
    });
  }
  const finding: Finding = {
    id: 'restore',
    title: 'a local image restored from a snapshot of 4 GiB',
    setting:
      'The image of P6, to a new file, until the command ends: that of sgw can be used from the start, and is synced when it ends.',
    subject: 'sgw',
    series: interleave(contenders, settings.rounds),
    bars: {},
    skipped,
  };
  return { ...finding, lives, markdown: `${toMarkdown(finding)}\n${livesTable(lives)}` };
}

/** What a guest waits that reads 4 KiB at random, one after the other, from the beginning of a restore to its end. */
function livesTable(lives: readonly Life[]): string {
  const rows = lives.map(({ seconds, reads, meanMs, p99Ms, demandReads, demandMeanMs }) =>
    [seconds.toFixed(2), reads, meanMs.toFixed(3), p99Ms.toFixed(2), demandReads, demandMeanMs.toFixed(2)].join(' | '),
  );
  return [
    'Served meanwhile over NBD, to a client that reads 4 KiB at random places, one read in flight, over the life of a restore at full speed:',
    '',
    '| seconds until whole | reads | mean ms | 99 % ms | of them from the snapshot | mean ms of these in the gateway |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row} |`),
    '',
  ].join('\n');
}
