/** What the fields mean that tell of a gateway's machine. */
export const MACHINE_MEANINGS: Readonly<Record<string, string>> = {
  networkInterfaces: 'addresses of the machine, but its own loopback',
  'gateway.networkInterfaces[].name': 'name of the interface',
  ipv4Address: 'address, or null',
  ipv6Address: 'address, or null',
  macAddress: 'address of the hardware',
  disks: 'local storage: the cache, the upload buffer, images that are shadowed or may be',
  diskId: '`cache`, `upload-buffer`, or the path of an image',
  'gateway.disks[].path': 'where it is',
  use: '`cache`, `uploadBuffer`, `volume` (shadowed), or `available`: an image in the folder `disks` of the home that nothing shadows',
  'gateway.disks[].sizeBytes':
    'of the cache and, for each volume, of the upload buffer: what it may grow to; null of an image that can not be read',
  allocatedBytes: 'what the file system has allocated; null of a block device, the cache and the upload buffer',
  'gateway.disks[].volumeId': 'the volume that shadows the image, or null',
};
