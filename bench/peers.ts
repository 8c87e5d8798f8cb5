/**
 * The programs that sgw is compared with, each as its documentation advises for disk images.
 *
 * Durability: borg and restic sync what they store. qemu-img convert does not (its default is `-t unsafe`), and is
 * timed with the sync of the file system that follows; so is everybody else.
 */
import path from 'node:path';
import { versionOf, type Call } from './programs.ts';

/** A peer that stores an image in a repository, version upon version. */
export interface Archiver {
  readonly name: string;
  readonly version: string | undefined;
  init(repository: string): Call;
  store(repository: string, image: string, label: string): Call;
  /** The image of that name, as it was stored under the label, into a folder. */
  restore(repository: string, image: string, label: string, folder: string): Call;
}

export const qemuImg = {
  version: versionOf('qemu-img', '--version'),
  /** To a compressed qcow2; `parallel` as fast as it goes, out of order. */
  compress(image: string, output: string, parallel: boolean): Call {
    const speed = parallel ? ['-m', '16', '-W'] : [];
    const target = ['-O', 'qcow2', '-o', 'compression_type=zstd'];
    return { argv: ['qemu-img', 'convert', '-f', 'raw', '-c', ...speed, ...target, image, output] };
  },
  toRaw(qcow2: string, output: string): Call {
    return { argv: ['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', qcow2, output] };
  },
} as const;

const borgVersion = versionOf('borg', '--version');

function borg(name: string, options: readonly string[]): Archiver {
  const env = (repository: string): Record<string, string> => ({
    BORG_BASE_DIR: path.dirname(repository),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
  });
  return {
    name,
    version: borgVersion,
    init: (repository) => ({ argv: ['borg', 'init', '-e', 'none', repository], env: env(repository) }),
    store: (repository, image, label) => ({
      argv: ['borg', 'create', '--compression', 'zstd,1', ...options, `${repository}::${label}`, path.basename(image)],
      cwd: path.dirname(image),
      env: env(repository),
    }),
    restore: (repository, image, label, folder) => ({
      argv: ['borg', 'extract', '--sparse', `${repository}::${label}`, path.basename(image)],
      cwd: folder,
      env: env(repository),
    }),
  };
}

const restic: Archiver = {
  name: 'restic',
  version: versionOf('restic', 'version'),
  init: (repository) => ({ argv: ['restic', '-q', '-r', repository, 'init'], env: resticEnv(repository) }),
  store: (repository, image) => ({
    argv: ['restic', '-q', '-r', repository, 'backup', path.basename(image)],
    cwd: path.dirname(image),
    env: resticEnv(repository),
  }),
  restore: (repository, _image, _label, folder) => ({
    argv: ['restic', '-q', '-r', repository, 'restore', 'latest', '--target', folder],
    env: resticEnv(repository),
  }),
};

function resticEnv(repository: string): Record<string, string> {
  return { RESTIC_PASSWORD: 'benchmark', RESTIC_CACHE_DIR: path.join(path.dirname(repository), 'restic-cache') };
}

/** borg's second form is the one that its manual gives for disk images: chunks of one size, holes skipped. */
export const ARCHIVERS: readonly Archiver[] = [
  borg('borg', []),
  borg('borg fixed', ['--chunker-params', 'fixed,4194304', '--sparse']),
  restic,
];
