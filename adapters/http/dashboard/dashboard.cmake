# SPDX-License-Identifier: Apache-2.0
#
# The dashboard as a C++ source: sets dashboard_source.
find_program(ESBUILD esbuild REQUIRED)
find_program(DASHBOARD_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
set(dashboard_source ${CMAKE_CURRENT_BINARY_DIR}/dashboard.cc)
file(GLOB_RECURSE dashboard_parts CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_LIST_DIR}/*.js ${CMAKE_CURRENT_LIST_DIR}/*.css ${CMAKE_CURRENT_LIST_DIR}/*.html
  ${CMAKE_CURRENT_LIST_DIR}/*.svg)
add_custom_command(OUTPUT ${dashboard_source}
  COMMAND ${DASHBOARD_PYTHON} -B ${CMAKE_CURRENT_LIST_DIR}/build.py --esbuild ${ESBUILD}
          --source ${CMAKE_CURRENT_LIST_DIR} --work ${CMAKE_CURRENT_BINARY_DIR}/dashboard --output ${dashboard_source}
          --gzip-bytes-max 153600
  DEPENDS ${dashboard_parts} ${CMAKE_CURRENT_LIST_DIR}/build.py
  COMMENT "Bundling the dashboard" VERBATIM)
