/** The kernel and the memory file system that the machine is booted from, made of unpacked packages. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { call, requireTools, unpackPackages } from './packages.ts';

export interface BootFiles {
  readonly kernel: string;
  readonly initrd: string;
}

const PROGRAMS = [
  ...['iscsid', 'iscsiadm', 'fio', 'kmod', 'blkdiscard', 'mke2fs', 'e2fsck', 'resize2fs'],
  ...[
    'mkfs.xfs',
    'xfs_repair',
    'xfs_growfs',
    'sg_modes',
    'sg_opcodes',
    'sg_persist',
    'sg_readcap',
    'sg_reset',
    'sg_vpd',
  ],
];
const OTHER_NAMES: Readonly<Record<string, string>> = { sh: 'busybox', modprobe: 'kmod', 'mkfs.ext4': 'mke2fs' };
/** With all that they need; those that the kernel has built in are not there. */
const MODULES = [
  ...['virtio_pci', 'virtio_net', 'virtio_rng', 'crc32c_intel', 'crc32c_generic', 'crct10dif_generic'],
  ...['sd_mod', 'sg', 'iscsi_tcp', 'ext4', 'xfs'],
];
const LOADER = 'ld-linux-x86-64.so.2';
const LIBRARIES = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu/ceph'];
const INIT = join(import.meta.dirname, 'guest.sh');

/**
 * Makes them in `folder`, of packages that are kept in `cache`.
 * @throws Error: a program is missing here, or something in the packages
 */
export async function makeSystem(folder: string, cache: string): Promise<BootFiles> {
  requireTools();
  const root = join(folder, 'packages');
  const system = join(folder, 'system');
  const files = { kernel: join(folder, 'vmlinuz'), initrd: join(folder, 'initrd') };
  await unpackPackages(cache, root);
  const maker = new SystemMaker(root, system);
  await maker.make();
  copyFileSync(only(globSync(join(root, 'boot/vmlinuz-*'))), files.kernel);
  // Not compressed: that would take the emulated processor longer than it saves.
  await call('sh', ['-c', 'find . | "$1" cpio -o -H newc >"$2"', 'sh', maker.program('busybox'), files.initrd], system);
  for (const each of [root, system]) rmSync(each, { recursive: true });
  return files;
}

class SystemMaker {
  readonly #root: string;
  readonly #system: string;

  constructor(root: string, system: string) {
    this.#root = root;
    this.#system = system;
  }

  async make(): Promise<void> {
    for (const each of ['bin', 'dev', 'etc/iscsi', 'lib', 'lib64', 'proc', 'sys'])
      mkdirSync(join(this.#system, each), { recursive: true });
    for (const each of ['sbin', 'usr']) symlinkSync(each === 'usr' ? '.' : 'bin', join(this.#system, each));
    for (const name of [...PROGRAMS, 'busybox']) copyFileSync(this.program(name), join(this.#system, 'bin', name));
    for (const [name, target] of Object.entries(OTHER_NAMES)) symlinkSync(target, join(this.#system, 'bin', name));
    for (const library of await this.#libraries()) copyFileSync(library, join(this.#system, 'lib', basename(library)));
    copyFileSync(this.#loader, join(this.#system, 'lib64', LOADER));
    for (const name of ['iscsi/iscsid.conf', 'mke2fs.conf'])
      copyFileSync(join(this.#root, 'etc', name), join(this.#system, 'etc', name));
    copyFileSync(INIT, join(this.#system, 'init'));
    chmodSync(join(this.#system, 'init'), 0o755);
    await this.#modules();
  }

  /** Where it is in the packages. @throws Error when it is not there */
  program(name: string): string {
    const found = ['bin', 'sbin', 'usr/bin', 'usr/sbin'].map((folder) => join(this.#root, folder, name));
    return only(found.filter((file) => existsSync(file)).slice(0, 1), name);
  }

  get #loader(): string {
    return only(
      [`lib64/${LOADER}`, `usr/lib64/${LOADER}`].map((file) => join(this.#root, file)).filter(existsSync),
      LOADER,
    );
  }

  /** Runs a program of the packages, with their libraries. */
  async #run(options: readonly string[], program: string, words: readonly string[]): Promise<string> {
    const libraries = LIBRARIES.map((folder) => join(this.#root, folder)).join(':');
    const loading = ['--inhibit-cache', '--library-path', libraries, ...options];
    return await call(this.#loader, [...loading, program, ...words]);
  }

  /** The shared libraries of all programs, and those that the C library loads for names of users and hosts. */
  async #libraries(): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (const name of PROGRAMS) {
      const listed = await this.#run(['--list'], this.program(name), []);
      for (const [, library = '', at = ''] of listed.matchAll(/^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$/gm)) {
        if (!at.startsWith(this.#root))
          throw new Error(`${library}, which ${name} needs, is not in the packages: ${at}`);
        found.add(at);
      }
    }
    return found;
  }

  /** Modules as `depmod` knows them by name, with what they depend on. */
  async #modules(): Promise<void> {
    const from = only(globSync(join(this.#root, '{lib,usr/lib}/modules/*')));
    const version = basename(from);
    const to = join(this.#system, 'lib/modules', version);
    const depmod = async (folder: string): Promise<void> => {
      await this.#run(['--argv0', 'depmod'], this.program('kmod'), ['-b', folder, version]);
    };
    await depmod(from.slice(0, -`/lib/modules/${version}`.length));
    const needs = new Map(
      readFileSync(join(from, 'modules.dep'), 'utf8')
        .split('\n')
        .map((line) => line.split(':'))
        .map(([file = '', others = '']) => [file, others.split(' ').filter((other) => other !== '')]),
    );
    const byName = new Map(
      [...needs.keys()].map((file) => [
        basename(file)
          .replace(/\.ko.*/, '')
          .replaceAll('-', '_'),
        file,
      ]),
    );
    for (const file of MODULES.map((name) => byName.get(name) ?? []).flat())
      for (const each of [file, ...(needs.get(file) ?? [])]) cpSync(join(from, each), join(to, each));
    for (const list of ['modules.order', 'modules.builtin']) copyFileSync(join(from, list), join(to, list));
    await depmod(this.#system);
  }
}

function only(files: readonly string[], what = 'a kernel'): string {
  const [file] = files;
  if (file === undefined || files.length > 1) throw new Error(`not one ${what} in the packages, but ${files.length}`);
  return file;
}
