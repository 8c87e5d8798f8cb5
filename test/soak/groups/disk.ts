/** The disk that a member's home is on: a file system of its own, which can be stopped, where that is allowed; else a folder. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const BYTES = 768 << 20;
/** A disk that is not let go on keeps whoever writes to it from even being killed. */
const PAUSE_MAX_MS = 30_000;

export interface MemberDisk {
  readonly canPause: boolean;
  /** Writes to it wait from now on. */
  pause(): void;
  goOn(): void;
  remove(): Promise<void>;
}

const quiet = (command: string, ...words: string[]): void => {
  execFileSync(command, words, { stdio: ['ignore', 'ignore', 'pipe'] });
};

/** Makes `folder` the disk of one member. */
export function makeDisk(folder: string): MemberDisk {
  mkdirSync(folder, { recursive: true });
  const image = `${folder}.img`;
  try {
    if (process.getuid?.() !== 0) throw new Error('not root');
    quiet('truncate', '-s', String(BYTES), image);
    quiet('mkfs.ext4', '-q', '-F', image);
    quiet('mount', '-o', 'loop', image, folder);
  } catch {
    rmSync(image, { force: true });
    return { canPause: false, pause: () => undefined, goOn: () => undefined, remove: async () => Promise.resolve() };
  }
  return {
    canPause: true,
    pause: () => {
      quiet('fsfreeze', '-f', folder);
      // Also when this process is killed.
      spawn('sh', ['-c', `sleep ${String(PAUSE_MAX_MS / 1000)}; fsfreeze -u "$0"`, folder], {
        detached: true,
        stdio: 'ignore',
      }).unref();
    },
    goOn: () => {
      try {
        quiet('fsfreeze', '-u', folder);
      } catch {
        // It goes on by itself by now.
      }
    },
    remove: async () => {
      for (let tries = 0; tries < 50; tries++) {
        try {
          quiet('umount', folder);
          break;
        } catch {
          await delay(100);
        }
      }
      rmSync(image, { force: true });
    },
  };
}
