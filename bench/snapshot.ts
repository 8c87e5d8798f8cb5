/**
 * P7: a snapshot after 1 % of the image was changed. The peers, and `volume import --into`, read the whole image to
 * find what changed; a snapshot of what is already in the store does not.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { baseImage, change, copyImage } from './image.ts';
import { ARCHIVERS } from './peers.ts';
import { call, time } from './programs.ts';
import type { Finding } from './report.ts';
import { interleave, type Contender } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';
import { Subject } from './subject.ts';

const SHARE = 0.01;

export function benchSnapshot(settings: Settings): Finding {
  const { rounds, withSubject } = settings;
  using work = workFolder(settings, 'p7');
  const image = copyImage(baseImage(settings.folder), path.join(work.path, 'changing.img'));
  let changedRound = -1;
  const changeOnce = (round: number): void => {
    if (changedRound === round) return;
    change(image, SHARE, round);
    changedRound = round;
  };
  const contenders: Contender[] = [];
  const skipped: string[] = [];
  if (withSubject)
    contenders.push(...subjectContenders(new Subject(path.join(work.path, 'sgw')), image.path, changeOnce));
  for (const archiver of ARCHIVERS) {
    if (archiver.version === undefined) {
      skipped.push(`${archiver.name} is not installed`);
      continue;
    }
    const repository = path.join(work.path, archiver.name, 'repository');
    mkdirSync(path.dirname(repository));
    call(archiver.init(repository));
    call(archiver.store(repository, image.path, 'base'));
    contenders.push({
      name: archiver.name,
      prepare: changeOnce,
      run: (round) => time(repository, archiver.store(repository, image.path, `round-${String(round)}`)),
    });
  }
  const series = interleave(contenders, rounds);
  return {
    id: 'P7',
    title: 'snapshot after changing 1 %',
    setting: 'Before each round 41 MiB of the image of P6 are replaced, in pieces of 64 KiB spread over its data.',
    subject: 'sgw snapshot',
    series,
    bars: { borg: 0.02, restic: 0.02 },
    skipped,
  };
}

/** The rescan with its snapshot, and the snapshot alone, of a volume that has the same history. */
function subjectContenders(subject: Subject, image: string, changeOnce: (round: number) => void): Contender[] {
  for (const name of ['rescanned', 'plain']) call(subject.does('volume', 'import', image, '--name', name));
  const snapshot = (volume: string, round: number) =>
    subject.does('snapshot', 'create', volume, '--name', `${volume}-${String(round)}`);
  return [
    {
      name: 'sgw snapshot',
      prepare: (round) => {
        changeOnce(round);
        call(subject.does('volume', 'import', image, '--into', 'plain'));
      },
      run: (round) => time(subject.store, snapshot('plain', round)),
    },
    {
      name: 'sgw import --into and snapshot',
      prepare: changeOnce,
      run: (round) =>
        time(
          subject.store,
          subject.does('volume', 'import', image, '--into', 'rescanned'),
          snapshot('rescanned', round),
        ),
    },
  ];
}
