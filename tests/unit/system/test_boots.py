"""How guests are started, what they are given, and how they are waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ovenbird.domain.boot_checks import BootReport, Probe, proof_of, why_unfit
from ovenbird.system.boots import boot_containers, qemu
from ovenbird.system.boots.boot_guests import Guest, furnish
from ovenbird.system.boots.nspawn import MASKED
from tests.unit.domain.test_provenance import BASE


def test_a_container_ends_with_the_shell_that_starts_it() -> None:
    found = boot_containers.command(Path("/b/root"), "ovb-boot-1")

    assert found[:9] == [
        "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
        found[8],
    ]  # fmt: skip
    assert found[9:] == [
        "sh", "systemd-nspawn", "--boot", "--quiet", "-D", "/b/root", "--machine=ovb-boot-1",
        "--network-namespace-path=/proc/self/ns/net", "--register=no", "--keep-unit",
        "--console=read-only", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
        *(f"systemd.mask={unit}" for unit in MASKED), "network-config=disabled",
    ]  # fmt: skip


def test_qemu_has_a_disk_as_on_nitro_and_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "FIRMWARE", (Path("/gone"), Path("/dev/null")))
    found = qemu.command(
        Path("/d.raw"), accelerator="tcg", is_uefi=True, console=Path("/c"), ports=(4711, 80)
    )

    assert found == [
        "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
        "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024",
        "-nodefaults", "-display", "none", "-no-reboot",
        "-chardev", "file,id=console,path=/c,append=on", "-serial", "chardev:console",
        "-drive", "if=pflash,format=raw,readonly=on,file=/dev/null",
        "-drive", "if=none,id=root,format=raw,cache=unsafe,file=/d.raw",
        "-device", "nvme,drive=root,serial=vol-boot-check",
        "-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:4711-:80",
        "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
    ]  # fmt: skip


def test_bios_and_an_app_without_a_port_need_less() -> None:
    found = qemu.command(
        Path("/d.raw"), accelerator="kvm", is_uefi=False, console=Path("/c"), ports=(0, 0)
    )

    assert "if=pflash" not in " ".join(found)
    assert found[found.index("-netdev") + 1] == "user,id=net,restrict=on"
    assert found[found.index("-cpu") + 1] == "host"


def test_what_could_not_even_begin_with_kvm_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    said: list[str] = []

    def booted(*_: object, accelerator: str) -> BootReport:
        tried.append(accelerator)
        return BootReport(engine="qemu", last=None, ended=True, status=0, seconds=0.1, console="")

    monkeypatch.setattr(qemu, "KVM", tmp_path)
    monkeypatch.setattr(qemu.QemuBoots, "_booted", booted)

    for _ in range(2):
        qemu.QemuBoots(tmp_path).boot(BASE, Path("/d"), probe=Probe(), progress=said.append)

    assert tried == ["kvm", "tcg", "tcg"]


def test_an_image_for_another_processor_is_not_booted(tmp_path: Path) -> None:
    other = replace(BASE, architecture="riscv64")

    assert boot_containers.ContainerBoots(tmp_path).missing(other) != ""
    assert qemu.QemuBoots(tmp_path).missing(other) != ""


def test_a_guest_gets_a_number_a_program_and_a_seed(tmp_path: Path) -> None:
    (tmp_path / "etc/cloud").mkdir(parents=True)

    furnish(tmp_path, "4711")

    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert (tmp_path / "etc/ovenbird-boot-check/nonce").read_text() == "4711"
    assert {"etc/ovenbird-boot-check/watch", "var/lib/cloud/seed/nocloud/meta-data",
            "etc/cloud/cloud.cfg.d/zz-ovenbird-boot-check.cfg"} < files  # fmt: skip
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants/ovenbird-boot-check.service"
    assert wanted.readlink() == Path("/etc/systemd/system/ovenbird-boot-check.service")


def guest(console: Path, *, ended: bool = False, status: int = 200) -> Guest:
    return Guest(
        engine="container", nonce="4711", console=console,
        has_ended=lambda: ended, ask=lambda: status,
    )  # fmt: skip


def test_a_guest_that_ends_without_a_word_is_not_waited_for(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.write_text("ovenbird-boot: running")

    report = guest(console, ended=True).watched(Probe(), within_s=600)

    assert why_unfit(report, Probe()).startswith("The guest ended without a word")


def test_a_guest_that_failed_is_not_waited_for(tmp_path: Path) -> None:
    console, proof = tmp_path / "console", proof_of("4711")
    console.write_text(
        "web.service: exited with 3\n"
        + "".join(
            f"ovenbird-boot {proof} {line}\n"
            for line in ("begin degraded", "failed web.service", "end 1")
        )
    )

    report = guest(console, status=0).watched(Probe(port=80), within_s=600)

    assert why_unfit(report, Probe(port=80)) == "`web.service` failed"
    assert report.console == "web.service: exited with 3"


def test_the_time_of_a_guest_ends(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.touch()

    report = guest(console).watched(Probe(port=80), within_s=0)

    assert (report.last, report.ended, report.status) == (None, False, 200)
