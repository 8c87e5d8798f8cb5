/** P9: a snapshot written out as a raw image, against qemu-img from a compressed qcow2 of the same image. */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { baseImage } from './image.ts';
import { qemuImg } from './peers.ts';
import { call, time } from './programs.ts';
import type { Finding } from './report.ts';
import { interleave, type Contender } from './rounds.ts';
import type { Settings } from './settings.ts';
import { Subject } from './subject.ts';

export function benchExport({ folder, rounds, withSubject }: Settings): Finding {
  const image = baseImage(folder);
  const work = path.join(folder, 'p9');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const contenders: Contender[] = [];
  const skipped: string[] = [];
  if (withSubject) {
    const subject = new Subject(path.join(work, 'sgw'));
    call(subject.does('volume', 'import', image.path, '--name', 'base'));
    call(subject.does('snapshot', 'create', 'base', '--name', 'v1'));
    const output = path.join(work, 'sgw.img');
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
    const qcow2 = path.join(work, 'base.qcow2');
    call(qemuImg.compress(image.path, qcow2, true));
    const output = path.join(work, 'qemu.img');
    contenders.push({
      name: 'qemu-img',
      prepare: () => {
        rmSync(output, { force: true });
      },
      run: () => time(output, qemuImg.toRaw(qcow2, output)),
    });
  }
  const series = interleave(contenders, rounds);
  rmSync(work, { recursive: true, force: true });
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
