/** P9: a snapshot written out as a raw image, against qemu-img from a compressed qcow2 of the same image. */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { baseImage } from './image.ts';
import { qemuImg } from './peers.ts';
import { call, time } from './programs.ts';
import type { Finding } from './report.ts';
import { interleave, type Contender } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';
import { Subject } from './subject.ts';

export function benchExport(settings: Settings): Finding {
  const { rounds, withSubject } = settings;
  const image = baseImage(settings.folder);
  using work = workFolder(settings, 'p9');
  const contenders: Contender[] = [];
  const skipped: string[] = [];
  if (withSubject) {
    const subject = new Subject(path.join(work.path, 'sgw'));
    call(subject.does('volume', 'import', image.path, '--name', 'base'));
    call(subject.does('snapshot', 'create', 'base', '--name', 'v1'));
    const output = path.join(work.path, 'sgw.img');
    contenders.push({
      name: 'sgw',
      prepare: () => {
        rmSync(output, { force: true });
      },
      run: () => time(output, subject.does('snapshot', 'export', 'v1', output)),
    });
  }
  if (qemuImg.version === undefined) skipped.push('qemu-img is not installed');
  else {
    const qcow2 = path.join(work.path, 'base.qcow2');
    call(qemuImg.compress(image.path, qcow2, true));
    const output = path.join(work.path, 'qemu.img');
    contenders.push({
      name: 'qemu-img',
      prepare: () => {
        rmSync(output, { force: true });
      },
      run: () => time(output, qemuImg.toRaw(qcow2, output)),
    });
  }
  const series = interleave(contenders, rounds);
  return {
    id: 'P9',
    title: 'export to raw',
    setting:
      'The image of P6, out of the store, and out of a zstd qcow2. sgw verifies what it writes; qemu-img does not.',
    subject: 'sgw',
    series,
    bars: { 'qemu-img': 1 },
    skipped,
  };
}
