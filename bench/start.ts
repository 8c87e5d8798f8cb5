/** P11 (opening) and P12: how long short commands take, whole processes, against a Node.js that does nothing. */
import path from 'node:path';
import { call, type Call, type Sample } from './programs.ts';
import type { Finding } from './report.ts';
import { interleave, type Contender } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';
import { Subject } from './subject.ts';

/** Short commands are run this many times a round. */
const RUNS_PER_ROUND = 10;
const NOTHING = 'node -e 0';

export function benchOpen(settings: Settings): Finding {
  using work = workFolder(settings, 'p11');
  const contenders: Contender[] = [nothing()];
  if (settings.withSubject) {
    const subject = new Subject(work.path);
    call(subject.does('volume', 'create', 'small', '--size', '1GiB'));
    call(subject.does('volume', 'create', 'large', '--size', '16TiB'));
    contenders.push(quick('volume show, 1 GiB', subject.does('volume', 'show', 'small')));
    contenders.push(quick('volume show, 16 TiB', subject.does('volume', 'show', 'large')));
    contenders.push(
      inProcess('open and show 16 TiB, in a loaded process', subject, 'volume.show', { volume: 'large' }),
    );
    contenders.push(quick('volume map, 16 TiB', subject.does('volume', 'map', 'large', '--json')));
  }
  return {
    id: 'P11',
    title: 'opening an empty volume of 16 TiB',
    setting: 'Whole processes from start to exit where nothing else is said; asked for is opening in less than 0.1 s.',
    subject: undefined,
    series: interleave(contenders, settings.rounds * RUNS_PER_ROUND),
    bars: {},
    skipped: [],
  };
}

export function benchStart(settings: Settings): Finding {
  using work = workFolder(settings, 'p12');
  const contenders: Contender[] = [nothing()];
  if (settings.withSubject) {
    const subject = new Subject(work.path);
    for (const name of ['golden', 'build-17', 'build-18']) {
      call(subject.does('volume', 'create', name, '--size', '1GiB'));
    }
    contenders.push(quick('sgw --version', subject.does('--version')));
    contenders.push(quick('volume list', subject.does('volume', 'list')));
    // What the shell asks when the tab key is pressed after `sgw volume show b`.
    contenders.push(quick('completing a name', subject.does('__complete', 'volume', 'show', 'b')));
  }
  return {
    id: 'P12',
    title: 'short commands',
    setting:
      'Whole processes; asked for are 0.1 s for --version, 0.35 s for volume list, 0.15 s for completing a name.',
    subject: undefined,
    series: interleave(contenders, settings.rounds * RUNS_PER_ROUND),
    bars: {},
    skipped: [],
  };
}

function nothing(): Contender {
  return quick(NOTHING, { argv: [process.execPath, '-e', '0'] });
}

/** Without starting Node.js and loading modules. */
function inProcess(name: string, subject: Subject, operation: string, input: object): Contender {
  const program = path.join(import.meta.dirname, 'in-process.ts');
  const argv = [process.execPath, program, subject.home, operation, JSON.stringify(input)] as const;
  return {
    name,
    run: () => {
      const seconds = Number(call({ argv: [...argv] })) / 1000;
      return { seconds, durableSeconds: seconds, storedBytes: undefined };
    },
  };
}

function quick(name: string, command: Call): Contender {
  return { name, run: () => timeOnly(command) };
}

/** Without the syncs of `time`, which would take longer than the command. */
function timeOnly(command: Call): Sample {
  const startedMs = performance.now();
  call(command);
  const seconds = (performance.now() - startedMs) / 1000;
  return { seconds, durableSeconds: seconds, storedBytes: undefined };
}
