/** Designation descriptors of VPD pages 83h and 88h (SPC-4, 7.8.6). */
import type { Nexus, UnitIdentity } from './contract.ts';

export const VENDOR = 'SGW     ';

const CODE_SET = { binary: 1, ascii: 2, utf8: 3 } as const;
const ASSOCIATION = { unit: 0, port: 1, device: 2 } as const;
const TYPE = { t10Vendor: 1, naa: 3, relativePort: 4, portGroup: 5, scsiName: 8 } as const;
/** PIV is set and the protocol is iSCSI: for what belongs to a port or to the device. */
const PROTOCOL_ISCSI = 5;

function designator(codeSet: number, association: number, type: number, value: Buffer): Buffer {
  const ofTransport = association !== ASSOCIATION.unit;
  const head = [
    (ofTransport ? PROTOCOL_ISCSI << 4 : 0) | codeSet,
    (ofTransport ? 0x80 : 0) | (association << 4) | type,
    0,
    value.length,
  ];
  return Buffer.concat([Buffer.from(head), value]);
}

const number = (value: number): Buffer => Buffer.from([0, 0, value >> 8, value & 0xff]);

/** With a zero at its end, and padded to a multiple of four (7.8.6.11). */
function scsiName(association: number, name: string): Buffer {
  const bytes = Buffer.from(name, 'utf8');
  const value = Buffer.alloc((bytes.length + 4) & ~3);
  bytes.copy(value);
  return designator(CODE_SET.utf8, association, TYPE.scsiName, value);
}

export const portName = ({ targetPort }: Nexus): Buffer => scsiName(ASSOCIATION.port, targetPort);

/** All names of a unit as one nexus sees it. */
export function unitDesignators({ serial, naa }: UnitIdentity, nexus: Nexus, portGroup: number): Buffer {
  const [deviceName = ''] = nexus.targetPort.split(',t,');
  return Buffer.concat([
    designator(CODE_SET.binary, ASSOCIATION.unit, TYPE.naa, naa),
    designator(CODE_SET.ascii, ASSOCIATION.unit, TYPE.t10Vendor, Buffer.from(VENDOR + serial, 'latin1')),
    designator(CODE_SET.binary, ASSOCIATION.port, TYPE.relativePort, number(nexus.relativePort)),
    designator(CODE_SET.binary, ASSOCIATION.port, TYPE.portGroup, number(portGroup)),
    portName(nexus),
    scsiName(ASSOCIATION.device, deviceName),
  ]);
}
