/** P6: the first import of an image into an empty store, against what people use for that today. */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { baseImage } from './image.ts';
import { ARCHIVERS, qemuImg } from './peers.ts';
import { call, time } from './programs.ts';
import type { Finding } from './report.ts';
import { interleave, type Contender } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';
import { Subject } from './subject.ts';

export function benchImport(settings: Settings): Finding {
  const { rounds, withSubject } = settings;
  const image = baseImage(settings.folder);
  using work = workFolder(settings, 'p6');
  const fresh = (name: string): string => {
    const place = path.join(work.path, name);
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place, { recursive: true });
    return place;
  };
  const contenders: Contender[] = [];
  const skipped: string[] = [];
  if (withSubject) {
    contenders.push({
      name: 'sgw',
      run: () => {
        const subject = new Subject(fresh('sgw'));
        return time(subject.store, subject.does('volume', 'import', image.path, '--name', 'base'));
      },
    });
  }
  if (qemuImg.version === undefined) skipped.push('qemu-img is not installed');
  else {
    for (const parallel of [false, true]) {
      const name = parallel ? 'qemu-img -m 16 -W' : 'qemu-img';
      contenders.push({
        name,
        run: () => {
          const output = path.join(fresh(name), 'base.qcow2');
          return time(output, qemuImg.compress(image.path, output, parallel));
        },
      });
    }
  }
  for (const archiver of ARCHIVERS) {
    if (archiver.version === undefined) {
      skipped.push(`${archiver.name} is not installed`);
      continue;
    }
    contenders.push({
      name: archiver.name,
      run: () => {
        const repository = path.join(fresh(archiver.name), 'repository');
        call(archiver.init(repository));
        return time(repository, archiver.store(repository, image.path, 'base'));
      },
    });
  }
  const series = interleave(contenders, rounds);
  return {
    id: 'P6',
    title: 'first import of a 4 GiB image',
    setting: `A sparse ext4 image of 4 GiB, ${String(Math.round(image.dataBytes / 1024 ** 2))} MiB of it data.`,
    subject: 'sgw',
    series,
    bars: { 'qemu-img': 0.35, 'qemu-img -m 16 -W': 0.55, borg: 0.2, restic: 0.05 },
    skipped,
  };
}
