/** Real iSCSI initiators against a gateway: libiscsi's tools, and QEMU's, which use the same library. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { HomeRig, until } from '../cli/gateway-rig.ts';
import { toolPath } from '../requirements.ts';
import { freePort } from '../support/free-port.ts';

const ISCSI_TOOLS = ['iscsi-ls', 'iscsi-inq', 'iscsi-readcapacity16', 'qemu-img', 'qemu-io', 'qemu-nbd'] as const;
/** Debian has it in a package of its own, qemu-block-extra. */
const QEMU_MODULE = '/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so';

/** What is not installed of what these clients need. */
export const missingClients = (): string[] => [
  ...ISCSI_TOOLS.filter((tool) => toolPath(tool) === undefined),
  ...(existsSync(QEMU_MODULE) ? [] : [QEMU_MODULE]),
];

export interface Attachment {
  readonly exportName: string;
  readonly volumeId: string;
  readonly uris: readonly string[];
  readonly clients: number;
  readonly connected: readonly Record<string, unknown>[];
  readonly iscsi: {
    readonly targetName: string;
    readonly portals: readonly string[];
    readonly chapUser: string | null;
  };
}

/** A gateway that runs, with a portal at a port that it keeps over restarts. */
export async function iscsiGateway(): Promise<{ readonly rig: HomeRig; readonly portal: string }> {
  const rig = await HomeRig.activated();
  const portal = `127.0.0.1:${String(await freePort())}`;
  await rig.ok('configure', '--iscsi-listen', `tcp:${portal}`);
  await rig.ok('gateway', 'start');
  return { rig, portal };
}

export const iscsiUri = ({ uris }: Attachment): string => uris.find((uri) => uri.startsWith('iscsi:')) ?? '';

export interface Login {
  readonly user?: string;
  /** A file that has the secret. */
  readonly secretFile?: string;
  readonly initiator?: string;
  readonly digest?: 'crc32c' | 'none';
}

/** A target as QEMU's tools take it, after `--image-opts`, and the object that its secret is in. */
export function qemuImage(
  { iscsi }: Attachment,
  login: Login = {},
): { readonly objects: string[]; readonly image: string } {
  const { user, secretFile, initiator, digest } = login;
  const options = [
    'driver=raw,file.driver=iscsi,file.transport=tcp',
    `file.portal=${iscsi.portals[0] ?? ''},file.target=${iscsi.targetName},file.lun=0`,
    ...(user === undefined ? [] : [`file.user=${user},file.password-secret=chap`]),
    ...(initiator === undefined ? [] : [`file.initiator-name=${initiator}`]),
    ...(digest === undefined ? [] : [`file.header-digest=${digest}`]),
  ];
  const objects = secretFile === undefined ? [] : ['--object', `secret,id=chap,file=${secretFile}`];
  return { objects, image: options.join(',') };
}

/** A client that holds its session until it is told to quit; commands of qemu-io go in. */
export class HeldSession implements AsyncDisposable {
  readonly #child: ChildProcess;
  #output = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
  }

  static async open(attachment: Attachment, login: Login = {}): Promise<HeldSession> {
    const { objects, image } = qemuImage(attachment, login);
    return await HeldSession.start([...objects, '--image-opts', image]);
  }

  /** With these arguments of qemu-io. */
  static async start(args: readonly string[]): Promise<HeldSession> {
    const held = new HeldSession(spawn(toolPath('qemu-io') ?? '', args));
    await held.run('read 0 4096', 'read 4096/4096 bytes');
    return held;
  }

  /** Runs a command; resolves when what is expected of it was printed. */
  async run(command: string, expected: string): Promise<void> {
    const from = this.#output.length;
    this.#child.stdin?.write(`${command}\n`);
    await until(`qemu-io says ${expected} to ${command}`, () => {
      const said = this.#output.slice(from);
      if (this.#child.exitCode !== null) throw new Error(`qemu-io ended: ${this.#output}`);
      return said.includes(expected);
    });
  }

  get output(): string {
    return this.#output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** An NBD socket over a target: QEMU is the initiator. It connects anew by itself when the gateway was away. */
export async function withBridge(uri: string, folder: string, use: (nbdUri: string) => Promise<void>): Promise<void> {
  const socket = path.join(folder, 'bridge.sock');
  const args = ['-f', 'raw', '-k', socket, '-t', '--cache=none', '--aio=threads', '--discard=unmap', uri];
  const bridge = spawn(toolPath('qemu-nbd') ?? '', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const gone = once(bridge, 'exit');
  try {
    await until('qemu-nbd listens', () => existsSync(socket) || bridge.exitCode !== null);
    if (bridge.exitCode !== null) throw new Error(`qemu-nbd ended with ${String(bridge.exitCode)}`);
    await use(`nbd+unix:///?socket=${socket}`);
  } finally {
    bridge.kill('SIGKILL');
    await gone;
  }
}
