# SPDX-License-Identifier: Apache-2.0
#
# `cmake --install` and the Debian package: what goes where (GNUInstallDirs).
include(GNUInstallDirs)
set(package_dir ${CMAKE_CURRENT_LIST_DIR})

# Where the program is, is known only now: cmake --install may be given another prefix.
set(unit_file ${CMAKE_BINARY_DIR}/package/fieldgate.service)
install(CODE "
  set(PROGRAM \${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/fieldgate)
  configure_file(${package_dir}/fieldgate.service ${unit_file} @ONLY)" COMPONENT gateway)

install(TARGETS fieldgate RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT gateway)
install(FILES ${unit_file} DESTINATION lib/systemd/system COMPONENT gateway)
install(FILES ${package_dir}/sysusers.conf DESTINATION lib/sysusers.d RENAME fieldgate.conf COMPONENT gateway)
install(FILES ${package_dir}/tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME fieldgate.conf COMPONENT gateway)
install(FILES ${package_dir}/bash-completion DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME fieldgate COMPONENT gateway)
install(FILES config/minimal.yaml config/production.yaml config/full.yaml config/fieldgate.schema.json
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT gateway)
file(GLOB pages CONFIGURE_DEPENDS docs/*.md)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT gateway)

# Compressed as Debian wants it, without a time stamp.
find_program(GZIP gzip REQUIRED)
find_program(MAN_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
function(install_man_page program component see_also)
  set(page ${CMAKE_BINARY_DIR}/package/${program}.1)
  add_custom_command(OUTPUT ${page}.gz
    COMMAND ${MAN_PYTHON} ${package_dir}/man_page.py $<TARGET_FILE:${program}> ${PROJECT_VERSION} ${see_also} > ${page}
    COMMAND ${GZIP} -9nfk ${page}
    DEPENDS ${program} ${package_dir}/man_page.py VERBATIM)
  add_custom_target(${program}-man ALL DEPENDS ${page}.gz)
  install(FILES ${page}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT ${component})
endfunction()
install_man_page(fieldgate gateway "fieldgate-sim(1), systemd.service(5), https://github.com/fieldgate/fieldgate and the documents in ${CMAKE_INSTALL_FULL_DOCDIR}")
if(TARGET fieldgate-sim)
  install_man_page(fieldgate-sim Unspecified "fieldgate(1)")
endif()
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/package/changelog.gz
  COMMAND ${GZIP} -9nc ${package_dir}/changelog > ${CMAKE_BINARY_DIR}/package/changelog.gz
  DEPENDS ${package_dir}/changelog VERBATIM)
add_custom_target(fieldgate-changelog ALL DEPENDS ${CMAKE_BINARY_DIR}/package/changelog.gz)
install(FILES ${CMAKE_BINARY_DIR}/package/changelog.gz DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT gateway)
# What the component `gateway` needs to be built.
add_custom_target(fieldgate-package DEPENDS fieldgate fieldgate-man fieldgate-changelog)
install(FILES ${package_dir}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT gateway)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fieldgate)
set(CPACK_PACKAGE_CONTACT "The Fieldgate authors <fieldgate@example.org>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "mosquitto, postgresql, prometheus")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "gateway between field devices and MQTT or HTTP")
# CPack makes Debian's form of it: a line each, indented, "." for an empty one.
set(CPACK_PACKAGE_DESCRIPTION "Field devices hold WebSocket connections over TLS to Fieldgate
and send telemetry in protobuf. It hands that on to MQTT brokers and
HTTP endpoints, brings commands down, and answers over HTTP what state
each device is in.

The package holds the gateway, its systemd unit, and fieldgate-sim, a
simulator of fleets of devices.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${package_dir}/postinst ${package_dir}/prerm ${package_dir}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
